/** Quoted-printable (RFC 2045 §6.7) of text that may have slots in it. */
import { bytesOf, isSlot, type Piece, SLOT_WIDTH } from './pieces.ts';

/** A line has at most 76 characters, of which a soft break needs one. */
const LINE_CHARACTERS = 75;
const CR = 13;
const LF = 10;

/**
 * The pieces as quoted-printable. Their line ends are CRLF and stay; slots stand as they are, on
 * one line.
 */
export function quotedPrintable(pieces: readonly Piece[]): readonly Piece[] {
  const out: Piece[] = [];
  let column = 0;
  for (const piece of pieces) {
    if (isSlot(piece)) {
      const width = SLOT_WIDTH[piece.slot];
      const breaks = column + width > LINE_CHARACTERS;
      if (breaks) out.push('=\r\n');
      out.push(piece);
      column = breaks ? width : column + width;
    } else {
      const run = encodedRun(bytesOf(piece), column);
      out.push(run.text);
      column = run.column;
    }
  }
  return out;
}

function encodedRun(bytes: Uint8Array, from: number): { text: string; column: number } {
  let text = '';
  let column = from;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === CR && bytes[i + 1] === LF) {
      text += '\r\n';
      column = 0;
      i++;
      continue;
    }
    const unit = unitOf(bytes, i);
    if (column + unit.length > LINE_CHARACTERS) {
      text += '=\r\n';
      column = 0;
    }
    text += unit;
    column += unit.length;
  }
  return { text, column };
}

/**
 * A blank at the end of a line would be lost on the way: it is encoded, and so is one before a
 * slot.
 */
function unitOf(bytes: Uint8Array, i: number): string {
  const byte = bytes[i] ?? 0;
  const next = bytes[i + 1];
  const isBlank = byte === 32 || byte === 9;
  const isPlain = isBlank ? next !== undefined && next !== CR : byte > 32 && byte < 127;
  return isPlain && byte !== 61
    ? String.fromCharCode(byte)
    : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

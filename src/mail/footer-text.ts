/** A list's footer as text with slots, and what it is in a charset and an encoding. */
import type { Recipe } from './chunk.ts';
import { robotAddress, safeWeb } from './list-headers.ts';
import { assemble, isSlot, type Piece } from './pieces.ts';
import { quotedPrintable } from './quoted-printable.ts';

/** RFC 5322 §2.1.1, without the CRLF. */
const LINE_BYTES_MAX = 998;
/** Stands for the way out: the member's own page, or where the list is left by mail. */
const PLACEHOLDER = '{unsubscribe}';
/** In these a text in ASCII is the same bytes. */
const ASCII_CHARSETS = new RegExp(
  '^(?:(?:us-)?ascii|utf-?8|iso-8859-\\d{1,2}|latin\\d|(?:windows-|cp)125\\d|koi8-[ru]' +
    '|gb2312|gbk|gb18030|big5|euc-(?:jp|kr)|ks_c_5601-1987)$',
);
const LATIN_1 = /^(?:iso-8859-1|latin1|windows-1252|cp1252)$/;

/**
 * The footer's lines with CRLF ends, and a slot wherever a copy has a link of its own; empty for
 * no footer.
 */
export function footerText(recipe: Recipe): readonly Piece[] {
  const lines = recipe.footer
    .toWellFormed()
    .replace(/\r\n?/g, '\n')
    .replace(/[^\P{Cc}\n\t]/gu, '')
    .trimEnd();
  if (lines === '') return [];
  const link = linkOf(recipe);
  const pieces: Piece[] = [];
  for (const [i, text] of `${lines}\n`.replaceAll('\n', '\r\n').split(PLACEHOLDER).entries()) {
    if (i > 0) pieces.push(...link);
    if (text !== '') pieces.push(text);
  }
  return pieces;
}

/** In mode `shared` nobody has a copy of one's own, so the link names no member. */
function linkOf({ mode, web, list }: Recipe): readonly Piece[] {
  const site = safeWeb(web);
  return mode === 'individual' && site !== ''
    ? [`${site}/u/`, { slot: 'page' }]
    : [`mailto:${robotAddress(list, 'leave')}`];
}

/** The footer in a charset, or null if that cannot say it or is no superset of ASCII. */
export function inCharset(text: readonly Piece[], charset: string): readonly Piece[] | null {
  const name = charset.toLowerCase();
  if (!ASCII_CHARSETS.test(name)) return null;
  if (isAscii(text) || /^utf-?8$/.test(name)) return text;
  if (!LATIN_1.test(name)) return null;
  const isLatin = text.every((piece) => typeof piece !== 'string' || IS_LATIN_1.test(piece));
  if (!isLatin) return null;
  return text.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece));
}

/** ISO 8859-1 but for its controls, where Windows-1252 has letters. */
const IS_LATIN_1 = /^[\r\n\t\x20-\x7e\xa0-\xff]*$/;

/** True if it can stand in a body that is not encoded: no line is longer than mail may have. */
export function fitsLines(text: readonly Piece[]): boolean {
  const { bytes } = assemble(text);
  let start = 0;
  for (let lf = bytes.indexOf(10); lf >= 0; lf = bytes.indexOf(10, start)) {
    if (lf - 1 - start > LINE_BYTES_MAX) return false;
    start = lf + 1;
  }
  return true;
}

export function isAscii(text: readonly Piece[]): boolean {
  return text.every((piece) => {
    if (isSlot(piece)) return true;
    return typeof piece === 'string'
      ? /^[\0-\x7f]*$/.test(piece)
      : piece.every((byte) => byte < 128);
  });
}

/** As a MIME part of its own, from its fields to its final CRLF; always 7-bit. */
export function asPart(text: readonly Piece[]): readonly Piece[] {
  const isPlain = isAscii(text) && fitsLines(text);
  const charset = isAscii(text) ? 'us-ascii' : 'utf-8';
  const encoding = isPlain ? '7bit' : 'quoted-printable';
  return [
    `Content-Type: text/plain; charset=${charset}\r\n`,
    `Content-Transfer-Encoding: ${encoding}\r\n`,
    'Content-Disposition: inline\r\n\r\n',
    ...(isPlain ? text : quotedPrintable(text)),
  ];
}

/** For format=flowed (RFC 3676 §4.2, §4.4): no line flows into the next, and none looks quoted. */
export function asFlowed(text: readonly Piece[]): readonly Piece[] {
  let atStart = true;
  return text.map((piece) => {
    if (typeof piece !== 'string') {
      atStart = false;
      return piece;
    }
    const fixed = piece.replace(/(?<!^--|\n--)[ \t]+(?=\r\n)/g, '');
    const first = atStart ? fixed.replace(/^(?=[ >]|From )/, ' ') : fixed;
    atStart = fixed.endsWith('\n');
    return first.replace(/\n(?=[ >]|From )/g, '\n ');
  });
}

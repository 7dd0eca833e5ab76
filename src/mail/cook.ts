/**
 * Cooks a post: from its raw bytes and a recipe to the bytes of all its copies, once a post.
 *
 * What is new stands above what came: our fields first, then the author's as they were (but for
 * the few that must not travel, and the Subject), then the body. So bytes that somebody signed
 * keep their order and their form. The result has slots where copies differ; `render` fills them.
 *
 * C1. Any bytes can be cooked: it never throws, and takes time in proportion to their length.
 * C2. Every line of the result ends in CRLF.
 * C3. Without a footer the body is the author's, byte for byte after C2.
 * C4. No setting of a list, whatever it holds, becomes a field or a line of a header of its own.
 */
import { unreachable } from '../assert.ts';
import type { Recipe } from './chunk.ts';
import { field } from './fold.ts';
import { type FooterPlan, planFooter } from './footer.ts';
import { EMPTY_HEADER, type Field, type Header, isProblem, parseHeader } from './header.ts';
import { isAsSent, isEightBit, withCrlf, withoutFromLine } from './lines.ts';
import { listHeaders, loopMark, robotAddress } from './list-headers.ts';
import { assemble, type Piece, type Splice } from './pieces.ts';
import { prefixedSubject } from './subject-prefix.ts';

/** A post as all its copies will be, but for the slots. */
export type Cooked = {
  readonly bytes: Uint8Array;
  /** In order. None: every copy is these very bytes. */
  readonly slots: readonly Splice[];
  /** Bytes of a copy. */
  readonly size: number;
  /** Some byte is above 127: needs a route with 8BITMIME (RFC 6152). */
  readonly eightBit: boolean;
  /** Every copy is one that {@link isAsSent}. */
  readonly asSent: boolean;
};

/**
 * Fields that do not travel: trace of the last hop; another list's (RFC 2369 §4, RFC 2919 §6);
 * passwords of moderators; requests for receipts, which every member's program would answer; and
 * what we write ourselves.
 */
const NOT_TRAVELLING: ReadonlySet<string> = new Set([
  ...[
    'return-path',
    'delivered-to',
    'x-original-to',
    'envelope-to',
    'errors-to',
    'x-mailfrom',
    'bcc',
  ],
  ...['list-id', 'list-help', 'list-owner', 'list-post', 'list-subscribe', 'list-archive'],
  ...['list-unsubscribe', 'list-unsubscribe-post', 'archived-at', 'sender', 'precedence'],
  ...['approved', 'approve', 'x-approved', 'x-approve', 'urgent'],
  ...['return-receipt-to', 'return-receipt-requested', 'disposition-notification-to'],
  ...['disposition-notification-options', 'x-confirm-reading-to', 'x-pmrqc'],
]);

/** Pure: the same bytes and recipe give the same result. */
export function cook(raw: Uint8Array, recipe: Recipe): Cooked {
  const message = withoutFromLine(withCrlf(raw));
  const { bytes, slots } = assemble(piecesOf(message, recipe));
  return {
    ...{ bytes, slots, size: bytes.length },
    ...{ eightBit: isEightBit(bytes), asSent: isAsSent(bytes) },
  };
}

function piecesOf(message: Uint8Array, recipe: Recipe): readonly Piece[] {
  switch (recipe.kind) {
    case 'notice':
    case 'probe':
      return [message];
    case 'forward':
      // The owners get what came, so that they can judge it; the mark stops it from coming round.
      return [
        ...received(recipe),
        loopMark(robotAddress(recipe.list, 'owner')),
        ...asItCame(message),
      ];
    case 'post':
      return cookedPost(message, recipe);
    default:
      return unreachable(recipe.kind);
  }
}

function cookedPost(message: Uint8Array, recipe: Recipe): readonly Piece[] {
  const header = parseHeader(message);
  // Only a moderator lets such a header pass: it goes on below ours, unread.
  if (isProblem(header)) return [...received(recipe), ...listHeaders(recipe), ...asItCame(message)];
  const footer = planFooter(message, header, recipe);
  const subject = header.fields.find((field) => field.name === 'subject');
  const prefixed = prefixedSubject(
    recipe.subjectPrefix,
    subject ? message.subarray(message.indexOf(58, subject.start) + 1, subject.end) : null,
  );
  return [
    ...received(recipe),
    ...listHeaders(recipe),
    ...(recipe.messageId === '' ? [] : [`Message-ID: ${recipe.messageId}\r\n`]),
    ...(footer.kind === 'wrap' ? [footer.header] : []),
    ...(subject === undefined && prefixed !== null ? prefixed : []),
    ...keptFields(message, header, (field) => {
      if (NOT_TRAVELLING.has(field.name)) return [];
      if (field.name === 'message-id' && recipe.messageId !== '') return [];
      if (field.name === 'subject') return field === subject ? prefixed : [];
      return footer.kind === 'wrap' && footer.fields.includes(field) ? [] : null;
    }),
    '\r\n',
    ...bodyOf(message, header, footer),
  ];
}

/** Trace fields stand on top (RFC 5321 §4.4). */
function received({ received: value }: Recipe): readonly Piece[] {
  return value === undefined ? [] : [field('Received', value.split(' '))];
}

/** The header as it stands; `instead` says what stands in a field's place, or null to keep it. */
function keptFields(
  message: Uint8Array,
  header: Header,
  instead: (field: Field) => readonly Piece[] | null,
): readonly Piece[] {
  const first = header.fields[0]?.start ?? header.end;
  const fields = header.fields.flatMap((field) => instead(field) ?? wholeField(message, field));
  return [message.subarray(0, first), ...fields];
}

/** A field that is the last line of a message may lack its end. */
function wholeField(message: Uint8Array, field: Field): readonly Piece[] {
  const bytes = message.subarray(field.start, field.end);
  return bytes.at(-1) === 10 ? [bytes] : [bytes, '\r\n'];
}

function bodyOf(message: Uint8Array, header: Header, footer: FooterPlan): readonly Piece[] {
  const body = message.subarray(header.bodyStart);
  switch (footer.kind) {
    case 'none':
      return [body];
    case 'insert': {
      const at = footer.at - header.bodyStart;
      return [body.subarray(0, at), ...footer.pieces, body.subarray(at)];
    }
    case 'wrap': {
      const moved = footer.fields.flatMap((field) => wholeField(message, field));
      return [footer.before, ...moved, '\r\n', body, ...footer.after];
    }
    default:
      return unreachable(footer);
  }
}

/**
 * The message below fields of ours: where it has no field of its own, an empty line must stand
 * between.
 */
function asItCame(message: Uint8Array): readonly Piece[] {
  const parsed = parseHeader(message);
  const header = isProblem(parsed) ? EMPTY_HEADER : parsed;
  const hasHeader = isProblem(parsed) || header.fields.length > 0;
  const startsBody = message[0] === 13;
  return hasHeader || startsBody ? [message] : ['\r\n', message];
}

/**
 * Notices: all mail that Troupe writes itself. Plain text, from the list's owner address, and
 * marked so that no program answers it (RFC 3834 §5); its envelope sender is null.
 *
 * The same notice composed twice is the same bytes, its Message-ID included: an effect may be done
 * twice.
 */
import { createHash } from 'node:crypto';
import { type Address, domainOf } from './address.ts';
import type { Recipe } from './chunk.ts';
import { dateOf } from './date.ts';
import { field, oneLine, phrase, unstructured } from './fold.ts';
import { noticeHeaders, robotAddress } from './list-headers.ts';
import { assemble } from './pieces.ts';
import { quotedPrintable } from './quoted-printable.ts';

/** Whose notice it is. */
export type NoticeList = Pick<Recipe, 'list' | 'displayName'>;

/** What a notice says. */
export type Notice = {
  readonly list: NoticeList;
  /** Stands in To; the envelope's recipients are the chunk's. */
  readonly to: Address;
  readonly subject: string;
  /** Any line ends; long lines are wrapped. */
  readonly text: string;
  /** Milliseconds since the epoch. */
  readonly date: number;
  /** What makes this notice this one, e.g. the command's id; its Message-ID is drawn from it. */
  readonly seed: string;
  /**
   * The Message-ID, with its angle brackets, of the mail that it answers; '' if it answers none.
   */
  readonly answers: string;
};

/** Whose notice it is, to whom, and which. */
export type About = Pick<Notice, 'list' | 'to' | 'date' | 'seed'>;

const LINE_CHARACTERS = 72;
const TEXT_CHARACTERS_MAX = 50_000;
const SUBJECT_CHARACTERS_MAX = 200;
const MESSAGE_ID = /^<[!-;=?-~]{1,900}>$/;

/** A whole message with CRLF ends, 7-bit. Pure; any text is safe in it. */
export function composeNotice(notice: Notice): Uint8Array {
  const { list, answers } = notice;
  const from = robotAddress(list.list, 'owner');
  const name = phrase(list.displayName);
  const isAnswer = MESSAGE_ID.test(answers);
  const { encoding, charset, body } = encodedText(notice.text);
  const { bytes } = assemble([
    field('From', name.length > 0 ? [...name, `<${from}>`] : [from]),
    field('To', [notice.to]),
    field('Subject', unstructured(cut(oneLine(notice.subject), SUBJECT_CHARACTERS_MAX))),
    field('Date', dateOf(notice.date).split(' ')),
    field('Message-ID', [messageIdOf(notice)]),
    ...(isAnswer ? [field('In-Reply-To', [answers]), field('References', [answers])] : []),
    field('Auto-Submitted', [isAnswer ? 'auto-replied' : 'auto-generated']),
    field('Precedence', ['bulk']),
    field('X-Auto-Response-Suppress', ['All']),
    ...noticeHeaders(list),
    'MIME-Version: 1.0\r\n',
    `Content-Type: text/plain; charset=${charset}\r\n`,
    `Content-Transfer-Encoding: ${encoding}\r\n\r\n`,
    ...body,
  ]);
  return bytes;
}

/** Tells moderators how many posts are held, and what to do about them. */
export function heldNotice(about: About & { readonly holds: number }): Uint8Array {
  const { holds } = about;
  const { list } = about.list;
  const posts = holds === 1 ? '1 post waits' : `${holds} posts wait`;
  return composeNotice({
    ...about,
    answers: '',
    subject: `${posts} for a moderator of ${list}`,
    text: [
      `${posts} for your word on the list ${list}.`,
      '',
      'What is held, and why:',
      '',
      `    troupe hold ls ${list}`,
      `    troupe hold show ${list} NUMBER`,
      '',
      'Send it to the list, tell its author no, or drop it without a word:',
      '',
      `    troupe hold approve ${list} NUMBER`,
      `    troupe hold reject ${list} NUMBER --comment 'Why not.'`,
      `    troupe hold discard ${list} NUMBER`,
      '',
      'This notice is sent at most once in ten minutes.',
    ].join('\n'),
  });
}

/**
 * Tells an author that a moderator rejected the post. `subject` and `messageId` are the post's
 * own.
 */
export function rejectionNotice(
  about: About & {
    readonly subject: string;
    readonly messageId: string;
    readonly comment: string;
  },
): Uint8Array {
  const { list } = about.list;
  const title = cut(oneLine(about.subject), SUBJECT_CHARACTERS_MAX);
  const comment = about.comment.trim();
  return composeNotice({
    ...about,
    answers: about.messageId,
    subject: `Your post to ${list} was not accepted`,
    text: [
      `A moderator of the list ${list} did not accept your post`,
      '',
      `    ${title === '' ? '(no subject)' : title}`,
      '',
      ...(comment === '' ? ['No reason was given.'] : ['The moderator says:', '', comment]),
      '',
      `Questions reach the owners of the list at ${robotAddress(list, 'owner')}.`,
    ].join('\n'),
  });
}

/** `<notice.…@example.org>`: the same for the same list, addressee and seed. */
function messageIdOf({ list, to, seed }: Notice): string {
  const hash = createHash('sha256').update(`${list.list} ${to} ${seed}`).digest('hex').slice(0, 32);
  return `<notice.${hash}@${domainOf(list.list)}>`;
}

/** RFC 5322 §3.3, in UTC. */
function encodedText(text: string): {
  encoding: string;
  charset: string;
  body: readonly (string | Uint8Array)[];
} {
  const lines = cut(text, TEXT_CHARACTERS_MAX)
    .toWellFormed()
    .replace(/\r\n?|[\u2028\u2029]/g, '\n')
    .replace(/[^\P{Cc}\n\t]/gu, '')
    .trimEnd()
    .split('\n')
    .flatMap(wrapped);
  const body = `${lines.join('\r\n')}\r\n`;
  if (/^[\r\n\t -~]*$/.test(body) && lines.every((line) => line.length <= 998)) {
    return { encoding: '7bit', charset: 'us-ascii', body: [body] };
  }
  const encoded = assemble(quotedPrintable([body])).bytes;
  return { encoding: 'quoted-printable', charset: 'utf-8', body: [encoded] };
}

/** Breaks a line between its words; what is indented is meant to be copied, and stays. */
function wrapped(line: string): readonly string[] {
  if (line.length <= LINE_CHARACTERS || line.startsWith(' ')) return [line];
  const lines: string[] = [];
  let current = '';
  for (const word of line.split(' ')) {
    if (current !== '' && current.length + 1 + word.length > LINE_CHARACTERS) {
      lines.push(current);
      current = word;
    } else current = current === '' ? word : `${current} ${word}`;
  }
  return [...lines, current];
}

/** At most so many characters, never half of one. */
function cut(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : [...text].slice(0, charactersMax).join('');
}

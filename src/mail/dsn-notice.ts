/**
 * What an MTA wrote for people, as lines: where it ends and the returned message begins, whether it
 * speaks of a failure or of a delay.
 */

import type { Fields } from './dsn-fields.ts';
import { anyOf } from './dsn-languages.ts';
import type { Parts } from './dsn-parts.ts';
import { phrases } from './dsn-words.ts';

/** Characters and lines of a notice that are read: what matters stands on its first page. */
const NOTICE_LENGTH_MAX = 48 * 1024;
const LINES_MAX = 600;
const LINE_LENGTH_MAX = 600;

export type Notice = {
  readonly header: Fields;
  /** Without what was returned; lines keep their indentation and lose blanks at their ends. */
  readonly lines: readonly string[];
  /** The returned message or its header, one character a byte; '' if there is none. */
  readonly original: string;
};

/** What stands before a returned message, alone on its line. */
const RETURNED = [
  phrases`
    ^[\s>|*]*[-=_*~+#]{2,}[- ]*(?:(?:this|here|below) is (?:a|the|your) (?:\w+ )?(?:copy|text
    |original|header)|below (?:this|the) (?:line|next)|begin|start(?: of)?|end of message
    |the (?:header|first|original|text)|(?:partial |included |enclosed |attached |undelivered[ ]
    |failed |rejected )?(?:original|returned?|unsent|undeliver(?:ed|able)|forwarded|enclosed
    |bounced|failed|rejected|included) (?:mail|message|e-?mail|text|content|header)
    |message (?:header|text|body|contents?|follows|as received)|copy of|headers?\b
    |non-?delivered message|mensaje original|message d'origine|ursprüngliche
    |original-?nachricht|server message follows)`,
  phrases`
    ^[\s>|*]*(?:[-=_*~+#]{2,}\s*)?(?:this is|here is|here's|below is|following is|attached is
    |below this line is|enclosed is|what follows is)\s+(?:is\s+)?(?:a|the|your
    |my)?\s*(?:truncated\s+)?(?:copy|text|first|header|beginning|original|undelivered
    |returned)`,
  phrases`
    ^[\s>|*]*(?:the )?(?:(?:text|header|body|contents?|first \S+ \S+|start|copy
    |beginning) of (?:your|the|this) (?:\w+ )?(?:message|e?-?mail)\b.{0,30}(?:follow|:$)
    |(?:your |the )?(?:original|returned|undelivered|unsent|rejected|bounced) (?:message|mail
    |e-?mail|text)(?: (?:headers?|text|body|content|as received))?\s*(?:follows?|below
    |attached|:|included|\(|$|is (?:attached|below|included|following|as follows))|old message
    |message headers? follow|your message (?:reads|follows)|--- message non-deliverable)`,
  phrases`
    ^>?\s{0,3}(?:received: +(?:from|by|\()|return-path: *<|x-mimeole:|dkim-signature:
    |mime-version: *1|received-spf:)`,
  /^content-type: *(?:message\/(?:rfc822|partial|global)|text\/rfc822)/i,
];

const HEAD = phrases`
    ^[\s>]*(?:received|return-path|from|to|cc|reply-to|subject|date|message-id|x-[a-z-]+
    |mime-version|content-type|dkim-signature|sender|delivered-to|件名|宛先|送信者|差出人|日付):`;

/** The notice of a message taken apart. */
export function noticeOf(parts: Parts): Notice {
  const all = plainly(parts.notice.slice(0, NOTICE_LENGTH_MAX))
    .split('\n', LINES_MAX)
    .map((line) => line.slice(0, LINE_LENGTH_MAX).replaceAll('\t', '    ').trimEnd());
  const end = all.findIndex((line, i) => i > 0 && announcesReturned(line));
  const cut = end < 0 ? all.length : end;
  const returned = parts.original === '' && end >= 0 ? headFrom(all, end) : parts.original;
  return { header: parts.header, lines: all.slice(0, cut), original: returned };
}

/** True of what stands before a returned message, and not before a reason as well. */
function announcesReturned(line: string): boolean {
  return RETURNED.some((one) => one.test(line)) && !/\b(?:and|with) the .{0,20}reason/i.test(line);
}

/**
 * Where a header begins that may be that of the message returned without a word: some notices quote one
 * before they say whose it was. Past the last line if there is none.
 */
export function headIn(lines: readonly string[]): number {
  const at = lines.findIndex(
    (_, i) => i > 0 && [0, 1, 2].every((k) => HEAD.test(lines[i + k] ?? '')),
  );
  return at < 0 ? lines.length : at;
}

/** Typographers' apostrophes and blanks as the patterns have them. */
function plainly(text: string): string {
  if (!/[^\0-\u007f]/.test(text)) return text;
  return text
    .replace(/[\u2018\u2019\u02bc]/g, "'")
    .replace(/[\u00a0\u2007\u202f]/g, ' ')
    .replace(/[\u200b-\u200f\u2060\ufeff]/g, '');
}

/** The header of a message that was returned as text: from the first line that is a field. */
function headFrom(lines: readonly string[], from: number): string {
  const first = lines.findIndex((line, i) => i >= from && HEAD.test(line));
  const quote = /^[> ]*/.exec(lines[first] ?? '')?.[0] ?? '';
  const head = first < 0 ? [] : lines.slice(first);
  return head.map((line) => (line.startsWith(quote) ? line.slice(quote.length) : line)).join('\n');
}

/** Words that something could not be delivered. */
const FAILURE = anyOf(
  'failed',
  phrases`
    undeliver|non[- ]?deliver|(?:mail|message) fail(?:ure|ed)|(?:not|n't|never)(?: \w+){0,3} (?:deliver|sent|reach|send|accept
    |receiv|relay|process|find|found|exist)|deliver\w*(?: \w+){0,8} (?:fail|error|problem|impossible|not possible
    |unsuccessful|abort|stopped|declined|prevented)|fail(?:ed|ure|s)?\b(?: \w+){0,6} (?:deliver
    |recipient|address|notice|send|mail|message|reason|permanent|on)|unable to (?:deliver|send
    |reach|relay|transfer|process|complete)|could ?n[o']t (?:be )?(?:deliver|send|reach|process)
    |cannot (?:be )?(?:deliver|send|reach|accept)|return(?:ed|ing) (?:mail|message|to sender)
    |(?:user|host|recipient|mailbox|address|domain|account)(?: \S+){0,4} (?:unknown|not (?:found|known)
    |unavailable|disabled|full|invalid|exceed)|(?:unknown|invalid|no such|bad) (?:user|host
    |recipient|mailbox|address|destination)|over ?quota|quota exceed|mailbox (?:is )?full
    |reject|refused|bounce|encountered an error|error(?: has)? occurred|frozen
    |yet to be delivered|processing error|been returned|permanent (?:error|fail|fatal)
    |fatal error|\bvirus\b.{0,40} in (?:an? |your |the )?(?:(?:e-?)?mail|message)|no such|undelivered|(?:not|n't) a (?:valid|known)
    |(?:was|been|were) (?:blocked|considered unsolicited|quarantined and not)|; failed;`,
);

/** Only said of mail that is still being tried. */
const STILL = anyOf(
  'still',
  phrases`
    still being retried|(?<!\bno (?:further|more|additional) \w{1,20} )will be (?:re-?)?(?:tried
    |attempted)|will (?:keep
    |continue) (?:to )?(?:re-?)?try|will (?:re-?)?try|not (?:\w+ ){0,2}delivered yet
    |another attempt will|(?<!no )further attempts will
    |not yet (?:been )?(?:\w+ )?(?:delivered|sent)|attempts are still pending|warning message only|this is (?:only )?a warning
    |could not (?:be sent|send message) for (?:the )?past|need not resend|(?:do not|don't
    |not) need to resend|no (?:further )?action is required|transient non-fatal errors
    |delivery attempts will continue|(?:still|remains?) in (?:the |our )?(?:\w+ )?queue`,
);

/** Words that there is hope yet: MTAs say them of mail they still try to deliver. */
const DELAY = phrases`
    (?:has been|is|was|being|were) (?:\w+ )?(?:delayed|deferred|queued|postponed)
    |delayed (?:mail|message|delivery)|delivery (?:is |has been )?(?:delayed|deferred
    |\(?delay)|message delayed|warning: (?:message|could not)`;
const GIVEN_UP = phrases`
    (?:permanent|fatal) (?:error|fail|fatal)|not (?:be )?delivered within|(?:has been|was
    |is) returned|given up|gave up|giving up|will not be (?:retried|attempted)
    |failed permanently|no further|could not be delivered (?:for|within)|returned to
    |undeliverable:|expired|has failed|failed after`;

/** A reply code with words behind it, or an enhanced status. */
const NUMBERS = phrases`
    (?:^|[\s:>"(-])(?:4[2-7]|5[0-7])\d[ :-]\s?(?:#?[45]\.\d|\S)
    |(?:^|[\s:;(#])[45]\.[0-7]\.\d{1,3}(?![.\d])`;

/** True if the notice, or the subject over it, speaks of a failure or a delay. */
export function tellsFailure({ lines }: Notice, subject: string): boolean {
  if (FAILURE.test(subject) || DELAY.test(subject)) return true;
  return lines.some((line, i) => {
    if (NUMBERS.test(line)) return true;
    // Words are wrapped: a line is read with the one after it.
    const pair = `${line.trim()} ${(lines[i + 1] ?? '').trim()}`;
    return FAILURE.test(pair) || DELAY.test(pair) || STILL.test(pair);
  });
}

/** What some words say of a list that they announce: still tried, given up on, or `otherwise`. */
export function isStillTried(words: string, otherwise: boolean): boolean {
  return STILL.test(words) || (otherwise && !/\bpermanent\b/i.test(words));
}

/** True if it only tells of a delay. */
export function tellsDelay({ lines }: Notice, subject: string): boolean {
  const text = lines.slice(0, 60).join(' ').replace(/\s+/g, ' ');
  if (STILL.test(text)) return true;
  const isDelay = DELAY.test(subject) || DELAY.test(text);
  return isDelay && !(GIVEN_UP.test(text) || GIVEN_UP.test(subject));
}

/**
 * What Troupe writes about mail that came back: to the member, a probe and warnings, each with the
 * link that makes it all well again; to the owners, what was done and what they may do.
 */
import { robotAddress } from './list-headers.ts';
import { type About, composeNotice } from './notice.ts';

/** What came back, as the other side said it. */
export type CameBack = {
  readonly reason: string;
  readonly status: string | null;
  readonly code: number | null;
  readonly diagnostic: string;
  /** It came back of what another list sent, which is not named: who reads this may be another by now. */
  readonly elsewhere?: object;
};

/** The words for a reason, for people. */
const WORDS: Readonly<Record<string, string>> = {
  'user-unknown': 'there is no such mailbox',
  'host-unknown': 'the domain takes no mail',
  'mailbox-full': 'the mailbox is full',
  'mailbox-disabled': 'the mailbox is disabled',
  moved: 'the mailbox has moved',
  policy: 'a policy of the receiving side',
  spam: 'it was taken for spam',
  authentication: 'the sender could not be authenticated (SPF, DKIM or DMARC)',
  blocked: 'the sending server is on a block list',
  rate: 'too much mail at once',
  expired: 'it could not be delivered in days',
};

export const reasonWords = (reason: string): string =>
  Object.hasOwn(WORDS, reason) ? (WORDS[reason] ?? reason) : reason.replaceAll('-', ' ');

/** What the other side said, indented, so that it is copied as it stands. */
function quoted(cause: CameBack | null): readonly string[] {
  if (cause === null) return [];
  const { reason, status, code, diagnostic } = cause;
  const numbers = [code === null || code === 0 ? '' : String(code), status ?? ''];
  const said = diagnostic.replaceAll(/\s+/g, ' ').trim();
  const head = `    ${reasonWords(reason)} ${numbers.join(' ').trim()}`.trimEnd();
  return ['What the other side said:', '', head, ...(said === '' ? [] : [`    ${said}`]), ''];
}

/** Asks a member whose mail came back whether anybody is there. It bounces, or it does not. */
export function probeNotice(
  about: About & { readonly cause: CameBack; readonly link: string },
): Uint8Array {
  const { list } = about.list;
  const sender = about.cause.elsewhere === undefined ? `the list ${list}` : 'another list here';
  return composeNotice({
    ...about,
    answers: '',
    subject: `Does mail from ${list} reach you?`,
    text: [
      `Mail from ${sender} to you came back. This one asks whether you are there.`,
      '',
      ...quoted(about.cause),
      'You need do nothing: that you can read this says that mail arrives again. To have it',
      'settled at once, open this page and press its button:',
      '',
      `    ${about.link}`,
      '',
      'If this mail comes back too, the list stops sending you posts until you ask for them again.',
    ].join('\n'),
  });
}

/** Tells a member that posts are no longer sent; `warning` of `of`, then removal. */
export function warningNotice(
  about: About & {
    readonly cause: CameBack | null;
    readonly link: string;
    readonly warning: number;
    readonly of: number;
    readonly why: string;
  },
): Uint8Array {
  const { warning, of } = about;
  const { list } = about.list;
  const isComplaint = about.why === 'complaint';
  const because = isComplaint
    ? 'your mail provider told us that you marked one as unwanted.'
    : 'mail to you kept coming back.';
  const reminders =
    warning < of
      ? `This is reminder ${warning} of ${of}. After the last one you are taken off the list.`
      : `This is the last of ${of} reminders. If nothing happens, you are taken off the list.`;
  return composeNotice({
    ...about,
    answers: '',
    subject: `${list} has stopped sending you mail`,
    text: [
      `The list ${list} has stopped sending you its posts, because ${because}`,
      '',
      ...(isComplaint ? [] : quoted(about.cause)),
      'You are still a member. To get its posts again, open this page and press its button:',
      '',
      `    ${about.link}`,
      '',
      ...(isComplaint ? [] : [reminders, '']),
      `Questions reach the owners of the list at ${robotAddress(list, 'owner')}.`,
    ].join('\n'),
  });
}

/** Tells owners how many members bounces disabled and removed since the last notice. */
export function troubleNotice(
  about: About & { readonly disabled: number; readonly removed: number },
): Uint8Array {
  const { disabled, removed } = about;
  const { list } = about.list;
  const gets = disabled === 1 ? '1 member no longer gets' : `${disabled} members no longer get`;
  const were = removed === 1 ? '1 member was' : `${removed} members were`;
  const lines = [
    ...(disabled > 0 ? [`${gets} posts, until they ask for them.`] : []),
    ...(removed > 0 ? [`${were} removed, after every warning.`] : []),
  ];
  return composeNotice({
    ...about,
    answers: '',
    subject: `Bounces on ${list}: ${disabled} disabled, ${removed} removed`,
    text: [
      `Mail to members of the list ${list} came back for good:`,
      '',
      ...lines,
      '',
      'Who, and why:',
      '',
      `    troupe bounces ls ${list}`,
      `    troupe bounces show ${list} ADDRESS`,
      '',
      'Send to a member again, and forget what came back:',
      '',
      `    troupe bounces reset ${list} ADDRESS`,
      '',
      'This notice is sent at most once an hour.',
    ].join('\n'),
  });
}

/** Tells owners, once a post, that it is the post or its way that is at fault, not the members. */
export function stormNotice(
  about: About & {
    readonly post: number;
    readonly reason: string;
    readonly bounced: number;
    readonly members: number;
    readonly blame: 'post' | 'sender-domain' | 'route' | 'provider';
    readonly where: string;
  },
): Uint8Array {
  const { post, reason, bounced, members } = about;
  const { list } = about.list;
  return composeNotice({
    ...about,
    answers: '',
    subject: `Post ${post} to ${list} came back from ${bounced} members`,
    text: [
      `Post ${post} to the list ${list} went to ${members} members and came back from ${bounced} of`,
      `them so far, all for one reason: ${reasonWords(reason)}.`,
      '',
      'That many at once are not the members’ fault. No bounce of this post counts against anyone, and',
      'whom it had stopped before that was seen gets posts again.',
      '',
      ...proposal(about),
      '',
      'What came back, and how it was understood:',
      '',
      `    troupe bounces report ${list}`,
    ].join('\n'),
  });
}

/** What to look at first. */
function proposal(about: { readonly blame: string; readonly where: string }): readonly string[] {
  const where = about.where === '' ? '' : ` (${about.where})`;
  switch (about.blame) {
    case 'sender-domain':
      return [
        `The author’s domain${where} forbids others to send its mail (DMARC). Ask the author`,
        'to post from another address, or let the list send in its own name.',
      ];
    case 'route':
      return [
        `The MTA that carried it${where} is refused. Look at its log and its reputation, or send`,
        'through another one.',
      ];
    case 'provider':
      return [`One provider${where} refuses it. Look at what it says, and ask its postmaster.`];
    default:
      return [
        'The post itself is refused: look at its links and attachments, and at what filters say.',
      ];
  }
}

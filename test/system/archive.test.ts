/**
 * Two years of a real list go through a list of ours: each mail is accepted or refused for a reason
 * that is listed, and each member gets each accepted one once, byte for byte but for what cooking
 * adds.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { corpusSkip, mboxMessages } from '../support/corpora.ts';
import { greet, sendMail } from '../support/send-mail.ts';
import { type SinkLine, type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { DOMAIN, startTestSite, type TestSite } from '../support/site.ts';
import { connectSmtp } from '../support/smtp-client.ts';
import { dumpStream } from '../support/streams-dump.ts';
import { until } from '../support/until.ts';

const MBOX = 'linux-sparse-2019-2021.mbox.gz';
const MAILS = 2_094;
const LIST = `replay@${DOMAIN}`;
const SENDER = 'replay@client.example';
const MEMBERS = ['one', 'two', 'three', 'four', 'five'].map((name) => `${name}@sink.example`);
const CONNECTIONS = 8;
const TEST_MS_MAX = 600_000;

/** Why a mail may not come out: at SMTP, or by a fact. */
const REFUSALS = ['552 5.3.4'];
const REASONS = ['no-sender', 'suspicious-mime', 'too-large'];

/** Fields that are the list's to set: none of the author's travels, and ours may stand in its place. */
const OURS = [
  ...['list-id', 'list-help', 'list-owner', 'list-post', 'list-subscribe', 'list-archive'],
  ...['list-unsubscribe', 'list-unsubscribe-post', 'sender', 'precedence'],
];
/** What no copy keeps of the author's header; `src/mail/cook.ts` says why. */
const NOT_KEPT = new Set([
  ...OURS,
  ...['return-path', 'delivered-to', 'x-original-to', 'envelope-to', 'errors-to', 'x-mailfrom'],
  ...['bcc', 'archived-at', 'approved', 'approve', 'x-approved', 'x-approve', 'urgent'],
  ...['return-receipt-to', 'return-receipt-requested', 'disposition-notification-to'],
  ...['disposition-notification-options', 'x-confirm-reading-to', 'x-pmrqc'],
]);
/** What stands above the author's fields. */
const ADDED = new Set([...OURS, 'received', 'x-loop', 'message-id']);

type Original = { readonly raw: Buffer; readonly kept: string; readonly fingerprint: string };

let sink: SinkProcess;
let site: TestSite;

const isSkipped = corpusSkip('archives');

beforeAll(async () => {
  if (isSkipped) return;
  sink = await startSinkProcess({ keepHeader: true });
  const routes = [{ name: 'sink', url: sink.url, connections: 8 }];
  site = await startTestSite({ routes, env: { TROUPE_LOG_LEVEL: 'warn' } });
});

afterAll(async () => {
  await site?.close();
  await sink?.close();
});

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Fields with their folds, each ended by CRLF. */
function fieldsOf(header: string): string[] {
  return header.split(/(?<=\r\n)(?![ \t])/).filter((field) => field !== '');
}

const nameOf = (field: string): string => field.slice(0, field.indexOf(':')).toLowerCase();

/** As it goes over the wire: CRLF ends, and one at the end. */
function originalOf(message: Buffer): Original {
  const text = message.toString('latin1').replaceAll(/\r\n|\r|\n/g, '\r\n');
  const raw = Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1');
  const end = raw.indexOf('\r\n\r\n');
  const body = raw.subarray(end + 4);
  const kept = fieldsOf(raw.toString('latin1', 0, end + 2)).filter(
    (field) => !NOT_KEPT.has(nameOf(field)),
  );
  return { raw, kept: kept.join(''), fingerprint: sha(body) };
}

/** Sends all over several connections; the replies, by what they said. */
async function sendAll(originals: readonly Original[]): Promise<Map<string, Original[]>> {
  const replies = new Map<string, Original[]>();
  const queue = [...originals];
  const work = async (): Promise<void> => {
    const client = await connectSmtp(site.ports().smtpPort);
    await greet(client);
    for (let original = queue.shift(); original !== undefined; original = queue.shift()) {
      const eightBit = original.raw.some((byte) => byte > 127);
      const mail = { sender: SENDER, recipients: [LIST], message: original.raw, eightBit };
      const { code, status } = await sendMail(client, mail);
      const said = `${code} ${status}`;
      replies.set(said, [...(replies.get(said) ?? []), original]);
    }
    client.drop();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, work));
  return replies;
}

type Fact = { readonly type: string; readonly reasons?: readonly string[] };

/** What the ledger says of posts: `post-accepted`, `post-held no-sender`, …, and how many. */
async function fatesOf(): Promise<Map<string, number>> {
  const fates = new Map<string, number>();
  for (const { subject, data } of await dumpStream(site.nats(), 'TROUPE_LEDGER')) {
    if (subject.endsWith('.owner')) continue;
    const { entries } = JSON.parse(Buffer.from(data).toString()) as {
      entries: { facts: Fact[] }[];
    };
    for (const { type, reasons } of entries.flatMap(({ facts }) => facts)) {
      if (!type.startsWith('post-')) continue;
      const fate = [type, ...(reasons ?? [])].join(' ');
      fates.set(fate, (fates.get(fate) ?? 0) + 1);
    }
  }
  return fates;
}

const total = (counts: Iterable<number>): number => [...counts].reduce((sum, n) => sum + n, 0);

/** Takes the line of this post from those of its member; null if there is none. */
function take(lines: SinkLine[], { kept }: Original): SinkLine | null {
  const at = lines.findIndex(({ header }) => header?.endsWith(kept));
  return at < 0 ? null : (lines.splice(at, 1)[0] ?? null);
}

test.skipIf(isSkipped)(
  'corpora: 2,094 real mails come out once per member, whole',
  async () => {
    await site.troupe('list', 'create', LIST, '--posting', 'anyone', '--max-size', '400KB');
    await site.troupe('member', 'add', LIST, ...MEMBERS);
    const originals = mboxMessages(MBOX).map(originalOf);
    expect(originals).toHaveLength(MAILS);

    const replies = await sendAll(originals);
    const accepted = replies.get('250 2.6.0') ?? replies.get('250 2.0.0') ?? [];
    const refused = [...replies.keys()].filter((said) => !said.startsWith('250'));
    expect(refused.filter((said) => !REFUSALS.includes(said))).toEqual([]);

    // The same bytes twice are one post.
    const different = [...new Map(accepted.map((one) => [sha(one.raw), one])).values()];
    const fates = await until(
      'every accepted mail has a fact',
      async () => {
        const found = await fatesOf();
        if (total(found.values()) >= different.length) return found;
        throw new Error(`${total(found.values())} of ${different.length}`);
      },
      TEST_MS_MAX / 3,
    );
    expect(total(fates.values())).toBe(different.length);
    const withReason = [...fates.keys()].filter((fate) => fate !== 'post-accepted');
    const reasons = withReason.flatMap((fate) => fate.split(' ').slice(1));
    expect(reasons.filter((reason) => !REASONS.includes(reason))).toEqual([]);
    console.table({
      ...Object.fromEntries([...replies].map(([said, { length }]) => [`SMTP ${said}`, length])),
      'the same bytes as another': accepted.length - different.length,
      ...Object.fromEntries(fates),
    });

    const posts = fates.get('post-accepted') ?? 0;
    expect(posts).toBeGreaterThan(MAILS / 2);
    const lines = await sink.waitFor(posts * MEMBERS.length, TEST_MS_MAX / 2);
    const copies = lines.filter(({ sender }) => sender !== '');
    expect(copies).toHaveLength(posts * MEMBERS.length);
    for (const member of MEMBERS) {
      const own = copies.filter(({ recipients }) => recipients[0] === member);
      expect(own).toHaveLength(posts);
      const byBody = Map.groupBy(own, ({ bodySha }) => bodySha);
      const found = different.map((one) => [one, take(byBody.get(one.fingerprint) ?? [], one)]);
      const whole = found.filter(([, line]) => line !== null) as [Original, SinkLine][];
      expect(whole).toHaveLength(posts);
      for (const [{ kept }, { header = '' }] of whole) {
        const added = fieldsOf(header.slice(0, header.length - kept.length));
        expect(added.filter((field) => !ADDED.has(nameOf(field)))).toEqual([]);
      }
    }
  },
  TEST_MS_MAX,
);

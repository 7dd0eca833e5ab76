/**
 * Recognising bounces: mails a second on one core, of delivery reports of 4 KiB, and of a corpus if one
 * is given; and what was recognised in it, in the form that scoring scripts read.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { recognise } from '../../src/mail/dsn.ts';
import { type Bench, figure } from './bench.ts';

/** What a scoring script wants to know of a mail. */
type Told = { readonly permanent: readonly string[]; readonly temporary: readonly string[] };
type Entry = { readonly name: string; readonly raw: Uint8Array };

const MANIFEST = 'manifest.json';
const REPORT_BYTES = 4 * 1024;
/** Calls that only warm the compiler up. */
const WARM_UP = 5_000;

export const dsn: Bench = {
  name: 'dsn',
  what: 'bounces recognised on one core',
  peer: 'mailparser, which only parses: 2,000–3,000 DSNs/s',
  flags: {
    count: { what: 'delivery reports of 4 KiB in a run', default: 40_000 },
    corpus: { what: 'a folder with manifest.json and the mails it names', default: '' },
    out: { what: 'a file for what was recognised in the corpus', default: '' },
  },
  says: [],
  columns: [
    figure('mails', 0),
    figure('perSecond', 0, { atLeast: 20_000 }),
    figure('corpusPerSecond', 0),
  ],
  tools: [],
  async open(flags) {
    const corpus = flags.text('corpus');
    const mails = corpus === '' ? [] : corpusOf(corpus);
    const out = flags.text('out');
    if (out !== '') {
      const told = Object.fromEntries(mails.map(({ name, raw }) => [name, tell(raw)]));
      writeFileSync(out, `${JSON.stringify(told, null, 1)}\n`);
    }
    const count = flags.number('count');
    const rounds = mails.length === 0 ? 0 : Math.ceil(count / 20 / mails.length);
    const report = reportOf(REPORT_BYTES);
    for (let i = 0; i < WARM_UP; i++) recognise(report);
    return async () => ({
      mails: mails.length,
      perSecond: perSecond(count, () => recognise(report)),
      corpusPerSecond: mails.length * perSecond(rounds, () => recogniseAll(mails)),
    });
  },
};

function recogniseAll(mails: readonly Entry[]): void {
  for (const { raw } of mails) recognise(raw);
}

/** By processor time, so that what else the machine does is not counted. */
function perSecond(times: number, run: () => unknown): number {
  const from = process.cpuUsage();
  for (let i = 0; i < times; i++) run();
  const { user, system } = process.cpuUsage(from);
  return times === 0 ? 0 : (1_000_000 * times) / (user + system);
}

function corpusOf(folder: string): readonly Entry[] {
  const manifest: unknown = JSON.parse(readFileSync(join(folder, MANIFEST), 'utf8'));
  if (!Array.isArray(manifest)) throw new Error(`${MANIFEST} is no list`);
  return manifest.map((entry: { readonly file: string }) => ({
    name: entry.file,
    raw: readFileSync(join(folder, entry.file)),
  }));
}

/** Complaints and replies are no bounces: they are told as nothing. */
function tell(raw: Uint8Array): Told {
  const { kind, results } = recognise(raw);
  const counted = kind === 'bounce' || kind === 'delayed' ? results : [];
  const permanent = counted.filter((one) => one.permanent);
  const temporary = counted.filter((one) => !one.permanent);
  const names = (of: typeof counted): string[] => of.map(({ recipient }) => recipient);
  return { permanent: names(permanent), temporary: names(temporary) };
}

const HEAD = [
  'Return-Path: <>',
  'Received: by mx.example.net (Postfix) id 4F2A81C0; Mon, 2 Feb 2026 10:00:01 +0000 (UTC)',
  'Date: Mon, 2 Feb 2026 10:00:01 +0000 (UTC)',
  'From: MAILER-DAEMON@mx.example.net (Mail Delivery System)',
  'Subject: Undelivered Mail Returned to Sender',
  'To: b+aaaaaaaabbbbbbbccccccdddddddddddddddd@lists.example.org',
  'Auto-Submitted: auto-replied',
  'MIME-Version: 1.0',
  'Content-Type: multipart/report; report-type=delivery-status; boundary="4F2A81C0.1/mx"',
  '',
  '--4F2A81C0.1/mx',
  'Content-Type: text/plain; charset=us-ascii',
  '',
  'This is the mail system at host mx.example.net.',
  '',
  "I'm sorry to have to inform you that your message could not",
  "be delivered to one or more recipients. It's attached below.",
  '',
  '<kim@example.net>: host mx2.example.net[192.0.2.9] said: 550 5.1.1',
  '    <kim@example.net>: Recipient address rejected: User unknown (in reply to',
  '    RCPT TO command)',
  '',
  '--4F2A81C0.1/mx',
  'Content-Type: message/delivery-status',
  '',
  'Reporting-MTA: dns; mx.example.net',
  'Arrival-Date: Mon, 2 Feb 2026 10:00:00 +0000 (UTC)',
  '',
  'Final-Recipient: rfc822; kim@example.net',
  'Original-Recipient: rfc822;kim@example.net',
  'Action: failed',
  'Status: 5.1.1',
  'Diagnostic-Code: smtp; 550 5.1.1 <kim@example.net>: Recipient address rejected: User',
  '    unknown',
  '',
  '--4F2A81C0.1/mx',
  'Content-Type: message/rfc822',
  '',
  'From: ann@example.com',
  'List-Id: <dev.lists.example.org>',
  '',
  '',
].join('\r\n');
const LINE = 'Ten times the same words, and then ten times more.\r\n';
const TAIL = '\r\n--4F2A81C0.1/mx--\r\n';

/** A delivery report as Postfix writes it, filled up with what it returns. */
function reportOf(bytes: number): Uint8Array {
  const room = bytes - HEAD.length - TAIL.length;
  return Buffer.from(HEAD + LINE.repeat(Math.ceil(room / LINE.length)).slice(0, room) + TAIL);
}

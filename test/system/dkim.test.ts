/** The whole program with keys: what an MTA gets is signed, the doctor says what to publish, and a bad key is no start. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DkimKey, readDkimKey, recordNameOf, recordOf } from '../../src/mail/dkim-keys.ts';
import { newPem, verify } from '../support/dkim.ts';
import { sendOnce } from '../support/send-mail.ts';
import { type Sink, startSink } from '../support/sink.ts';
import { DOMAIN, newPlace, runTroupe, startTestSite, type TestSite } from '../support/site.ts';

const MEMBERS = ['ann@sink.example', 'bob@sink.example', 'cyd@sink.example'];
const LIST = `dev@${DOMAIN}`;

/** The machine may be busy with others. */
const MS_MAX = 600_000;

let directory: string;
let sink: Sink;
let site: TestSite;
const keys: DkimKey[] = [];
const configured: { domain: string; selector: string; key: string }[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-dkim-'));
  for (const type of ['rsa', 'ed25519'] as const) {
    const name = { domain: DOMAIN, selector: type };
    const file = join(directory, `${type}.pem`);
    const pem = newPem(type);
    writeFileSync(file, pem, { mode: 0o600 });
    configured.push({ ...name, key: file });
    const key = readDkimKey(pem, name);
    if (!('problem' in key)) keys.push(key);
  }
  sink = await startSink();
  site = await startTestSite({
    routes: [{ name: 'sink', url: sink.url, connections: 2 }],
    env: { TROUPE_DKIM: JSON.stringify(configured) },
  });
}, MS_MAX);
afterAll(async () => {
  await site?.close();
  await sink?.close();
  rmSync(directory, { recursive: true, force: true });
}, MS_MAX);

test(
  'each copy of a post passes by both keys',
  async () => {
    await site.troupe('list', 'create', LIST);
    await site.troupe('member', 'add', LIST, ...MEMBERS);
    const header = `From: ann@sink.example\r\nTo: ${LIST}\r\nSubject: Hello\r\n`;
    const message = Buffer.from(`${header}Message-ID: <1@sink.example>\r\n\r\n.Hello all,\r\n\r\n`);
    const mail = { sender: MEMBERS[0] ?? '', recipients: [LIST], message };
    expect((await sendOnce(site.ports().smtpPort, mail)).code).toBe(250);
    await sink.waitFor(MEMBERS.length);
    expect(sink.recipients().sort()).toEqual(MEMBERS);
    for (const mail of sink.mails) {
      const results = await verify(mail.message, keys);
      expect(results).toEqual([
        { domain: DOMAIN, selector: 'rsa', result: 'pass' },
        { domain: DOMAIN, selector: 'ed25519', result: 'pass' },
      ]);
    }
  },
  MS_MAX,
);

test(
  'the doctor says what to publish',
  async () => {
    const { code, stdout } = await site.run('doctor');
    for (const key of keys) {
      expect(stdout).toContain(`DNS must have: ${recordNameOf(key)} TXT ${recordOf(key)}`);
    }
    expect(code).toBe(0);
  },
  MS_MAX,
);

test(
  'a key that others can read is no start, and it is said what to do',
  async () => {
    const [first] = configured;
    chmodSync(first?.key ?? '', 0o644);
    const place = newPlace({ env: { TROUPE_DKIM: JSON.stringify(configured) } });
    const { code, stderr } = await runTroupe(place.env, ['serve']);
    rmSync(place.directory, { recursive: true, force: true });
    expect(stderr).toContain(`the key ${first?.key} is open to others (mode 0644): chmod 0600`);
    expect(stderr).not.toMatch(/^\s+at .*:\d+:\d+/m);
    expect(code).toBe(1);
  },
  MS_MAX,
);

/** The keys of `dkim` in their files: what an operator is told of each that cannot be used, and what to publish. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dkimChecks } from '../src/cli/doctor-dkim.ts';
import { type DkimConfig, loadConfig } from '../src/config.ts';
import { readDkimKeys } from '../src/config-dkim.ts';
import { OperatorError } from '../src/errors.ts';
import { newPem } from './support/dkim.ts';

const DOMAIN = 'lists.example.org';
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-dkim-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function keyFile(name: string, text: string, mode = 0o600): DkimConfig {
  const key = join(directory, `${name}.pem`);
  writeFileSync(key, text);
  chmodSync(key, mode);
  return { domain: DOMAIN, selector: name, key };
}

/** What the operator is told, with the directory's name shortened. */
function told(...configured: readonly DkimConfig[]): string {
  try {
    readDkimKeys(configured);
  } catch (error) {
    expect(error).toBeInstanceOf(OperatorError);
    return (error as OperatorError).message.replaceAll(directory, 'DIR');
  }
  throw new Error('the keys were accepted');
}

test('one RSA and one Ed25519 key of a domain sign together', () => {
  const keys = readDkimKeys([
    keyFile('rsa', newPem('rsa')),
    keyFile('ed', newPem('ed25519'), 0o640),
  ]);
  expect(keys).toMatchObject([
    { domain: DOMAIN, selector: 'rsa', algorithm: 'rsa-sha256', signatureBytes: 256 },
    { domain: DOMAIN, selector: 'ed', algorithm: 'ed25519-sha256', signatureBytes: 64 },
  ]);
  expect(readDkimKeys([])).toEqual([]);
});

test.each([0o644, 0o604, 0o620, 0o660, 0o777])('a key of mode %o is refused', (mode) => {
  const octal = mode.toString(8).padStart(4, '0');
  expect(told(keyFile('open', newPem('ed25519'), mode))).toContain(
    `the key DIR/open.pem is open to others (mode ${octal}): chmod 0600 DIR/open.pem`,
  );
});

test('all mistakes are told at once, each with its file', () => {
  const text = told(
    keyFile('text', 'no key'),
    keyFile('short', newPem('rsa', 1024)),
    keyFile('large', 'x'.repeat(20_000)),
    { domain: DOMAIN, selector: 'gone', key: join(directory, 'gone.pem') },
    keyFile('one', newPem('ed25519')),
    keyFile('two', newPem('ed25519')),
  );
  expect(text).toContain('the key DIR/text.pem is no private key in PEM form');
  expect(text).toContain('the key DIR/short.pem has 1024 bits');
  expect(text).toContain('the key DIR/large.pem is larger than 16 KiB');
  expect(text).toMatch(/the key DIR\/gone\.pem cannot be read: ENOENT/);
  expect(text).toContain(`${DOMAIN}: one and two are both keys for ed25519-sha256`);
});

test('the doctor says what DNS must have, and which key signs nothing', () => {
  const used = keyFile('s1', newPem('ed25519'));
  const unused = { ...used, domain: 'other.example', selector: 's2' };
  const open = keyFile('s3', newPem('ed25519'), 0o644);
  const checks = dkimChecks({ dkim: [used, unused, open], domains: [DOMAIN] });
  expect(checks).toMatchObject([
    {
      ...{ what: `dkim ${DOMAIN}`, level: 'ok' },
      text: expect.stringMatching(
        /^DNS must have: s1\._domainkey\.lists\.example\.org TXT "v=DKIM1; k=ed25519; p=.{44}"$/,
      ),
    },
    { what: 'dkim other.example', level: 'warn' },
    { what: `dkim ${DOMAIN}`, level: 'fail', text: expect.stringContaining('chmod 0600') },
  ]);
});

test('in the configuration a path is relative to the file, and a selector stands once', () => {
  const file = join(directory, 'troupe.yaml');
  const entry = `{domain: ${DOMAIN}, selector: s1, key: keys/s1.pem}`;
  writeFileSync(file, `dkim:\n  - ${entry}\n`);
  expect(loadConfig({ file, env: {} }).dkim).toEqual([
    { domain: DOMAIN, selector: 's1', key: join(directory, 'keys/s1.pem') },
  ]);
  writeFileSync(file, `dkim:\n  - ${entry}\n  - ${entry}\n`);
  expect(() => loadConfig({ file, env: {} })).toThrow(
    `${file}:3: \`dkim.1.selector\` is \`s1\`, which another key of the domain has`,
  );
  writeFileSync(file, 'dkim:\n  - {domain: Lists, selector: "a;b", key: x}\n');
  expect(() => loadConfig({ file, env: {} })).toThrow(/`dkim\.0\.selector` must be a selector/);
});

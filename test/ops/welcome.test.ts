import { expect, test } from 'vitest';
import { SAMPLE_LIST } from '../../src/ops/sample.ts';
import { welcome } from '../../src/ops/welcome.ts';

const NOTE = {
  ...{ pid: 1, node: 'n1', smtpPort: 2525, lmtpPort: 8024, lmtpSocket: null },
  ...{ httpPort: 8080, httpUrl: 'http://127.0.0.1:8080' },
};

test('with the sample list a newcomer is told how to send to it, what came out, and how to look at it', () => {
  const text = welcome(NOTE, true, true);
  expect(text).toContain('Troupe is ready: SMTP 2525, LMTP 8024, HTTP http://127.0.0.1:8080.');
  expect(text).toContain(
    `smtp://127.0.0.1:2525 --mail-from me@example.org --mail-rcpt ${SAMPLE_LIST}`,
  );
  expect(text).toContain('npx troupe outbox        or http://127.0.0.1:8080/outbox');
  expect(text).toContain(`npx troupe inspect list ${SAMPLE_LIST}`);
});

test('without it nothing is said of it, and without a port nothing of sending', () => {
  const text = welcome(NOTE, false, false);
  expect(text).not.toContain('hello@');
  expect(text).not.toContain('outbox');
  expect(text).toContain('npx troupe list ls');
  expect(welcome({ ...NOTE, smtpPort: null }, true, false)).not.toContain('curl');
});

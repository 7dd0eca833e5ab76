/** Real mail, cooked and signed: a verifier that is not ours takes every copy, and what is not signed has a reason. */
import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { cook } from '../../src/mail/cook.ts';
import { createDkim } from '../../src/mail/dkim.ts';
import { render } from '../../src/mail/render.ts';
import { corpusFiles, corpusSkip, mboxMessages } from '../support/corpora.ts';
import { newKey, verify } from '../support/dkim.ts';
import { COPY, RECIPE } from './cook-support.ts';

const NOT_MAIL = /\.(?:json|[jt]s)$/;
const BYTES_MAX = 300_000;

// On a domain of nobody's, so that signatures that came with a mail are not taken for ours.
const LIST = { ...RECIPE, list: 'dev@lists.invalid' as typeof RECIPE.list };
const key = newKey('ed25519', 'lists.invalid');
const dkim = createDkim([key], 1);
afterAll(() => dkim.close());

async function reasonOrPass(raw: Uint8Array, path: string): Promise<string> {
  const post = dkim.prepare(cook(raw, LIST), LIST.list);
  if (post.sign === undefined) return post.unsigned ?? '';
  const copy = render(post, COPY);
  await post.sign(copy);
  const results = await verify(copy, [key]);
  expect(results, path).toMatchObject([{ selector: 'ed25519', result: 'pass' }]);
  return 'pass';
}

test.skipIf(corpusSkip('mime'))('copies of mail of the MIME corpora pass', async () => {
  let passed = 0;
  for (const path of corpusFiles('mime', (name) => !NOT_MAIL.test(name))) {
    const raw = readFileSync(path);
    if (raw.length > BYTES_MAX) continue;
    const reason = await reasonOrPass(raw, path);
    if (reason === 'pass') passed++;
    else expect(reason, path).toMatch(/^it has no From$|^its header /);
  }
  expect(passed).toBeGreaterThan(200);
});

test.skipIf(corpusSkip('archives'))(
  'copies of posts of a real list of the corpora pass',
  async () => {
    const some = mboxMessages('linux-sparse-2019-2021.mbox.gz').filter((_, i) => i % 10 === 0);
    for (const [i, raw] of some.entries()) {
      expect(await reasonOrPass(raw, `post ${i * 10}`)).toBe('pass');
    }
    expect(some.length).toBeGreaterThan(200);
  },
);

import { afterAll, beforeAll, expect, test } from 'vitest';
import { copiesByRoute } from '../../src/nats/delivery-record.ts';
import { resultsOf } from '../../src/nats/outlets.ts';
import { newKey } from '../contract/ledger.ts';
import { aResult, BY, took } from '../support/chunk.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.stop());

test('the copies of a post are counted by route: what each took, and what it refused', async () => {
  const key = newKey();
  const { tell } = resultsOf(site.nats, site.publisher);
  const of = (chunk: string) => ({ key, post: '9', chunk, try: 0 });
  const refused = [{ ...BY, route: 'a', number: 3, code: 550, status: '5.1.1', reply: 'no' }];
  const none = { deferred: [], refused: [] };
  await tell(of('0'), aResult({ accepted: [took(1, 2, { route: 'a' })], deferred: [], refused }));
  await tell(of('1'), aResult({ accepted: [took(500, 509, { route: 'b' })], ...none }));
  expect(await copiesByRoute(site.nats)(key, 9)).toEqual({ a: 3, b: 10 });
  expect(await copiesByRoute(site.nats)(newKey(), 9)).toEqual({});
});

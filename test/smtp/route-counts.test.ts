/** What is counted of each route, as `/metrics` shows it. */
import { expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { transactionTo } from '../contract/smtp.ts';
import { aChunk } from '../support/chunk.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeSmtp } from '../support/fake/smtp.ts';
import { openTestRoutes, routeOf } from '../support/routes.ts';

test('what each route answers is counted by outcome, under its own name', async () => {
  const gather = async () => ({});
  const { meter, page } = createMetrics({ clock: systemClock, isStrict: true, gather });
  const smtp = createFakeSmtp();
  const routes = await openTestRoutes(smtp, createFakeClock(), { file: [routeOf('a')], meter });
  const lent = await routes.lend(aChunk(), []);
  const answers = [null, 'lost after', { code: 450, status: '4.2.0', reply: 'not now' }] as const;
  for (const answer of [...answers, { code: 550, status: '5.1.1', reply: 'nobody' }]) {
    smtp.rule = () => answer;
    await lent?.route.withConnection('post', (to) => to.send(transactionTo('x@y.example')));
  }
  const text = await page();
  for (const outcome of ['accepted', 'deferred', 'refused', 'unknown']) {
    expect(text).toContain(`troupe_route_replies_total{route="a",outcome="${outcome}"} 1`);
  }
  lent?.giveBack();
  routes.stop();
});

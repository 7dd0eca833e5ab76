/** What a sender tells its node (the senders themselves: test/system/senders.test.ts). */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { silentLog } from '../src/log.ts';
import { createRepeats } from '../src/runners/repeats.ts';
import { hearRepeats } from '../src/senders.ts';

test('what a sender may have repeated is counted and measured by its node, also when the sender is gone', async () => {
  const counted: unknown[] = [];
  const meter = { count: (...all: unknown[]) => void counted.push(all), observe: () => undefined };
  const repeats = createRepeats({ log: silentLog, meter });
  const sender = fork(new URL('support/repeating-sender.ts', import.meta.url), { execArgv: [] });
  hearRepeats(sender, repeats);
  await once(sender, 'close');
  expect(repeats.all()).toEqual({ chunks: 1, recipients: 7 });
  expect(counted).toEqual([
    ['chunks_repeated', { class: 'bulk' }],
    ['recipients_repeated', { class: 'bulk' }, 7],
  ]);
});

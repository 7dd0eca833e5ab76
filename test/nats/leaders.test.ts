import { expect, test } from 'vitest';
import { MailError, OperatorError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { NoLeaderError, onceLed } from '../../src/nats/leaders.ts';

const away = () => new MailError(451, '4.3.0', 'Try again later', new Error('no leader'));

function patience() {
  const ending = new AbortController();
  const said: string[] = [];
  let now = 0;
  let pages = 0;
  return {
    ending,
    said,
    pages: () => pages,
    needs: {
      clock: {
        monotonic: () => now,
        sleep: async (ms: number) => {
          now += ms;
        },
      },
      log: { ...silentLog, warn: (_: object, text: string) => void said.push(text) },
      signal: ending.signal,
      whileWaiting: async () => {
        pages++;
      },
    },
  };
}

test('what has no leader yet is tried again until it has, and said once', async () => {
  const { needs, said, pages } = patience();
  let tries = 0;
  const step = async () => {
    tries++;
    if (tries < 4) throw tries === 1 ? new NoLeaderError(new Error('electing')) : away();
    return 'led';
  };
  expect(await onceLed(step, needs)).toBe('led');
  expect(said).toEqual(['waiting for NATS: it has no leader yet']);
  expect(pages()).toBe(3);
});

test('what an operator must mend is thrown at once', async () => {
  const { needs, said } = patience();
  const step = async () => {
    throw new OperatorError('no room', 'Make some.');
  };
  await expect(onceLed(step, needs)).rejects.toThrow('no room');
  expect(said).toEqual([]);
});

test('after a quarter of an hour an operator is told what to look at', async () => {
  const { needs } = patience();
  const failing = onceLed(() => Promise.reject(away()), needs);
  await expect(failing).rejects.toBeInstanceOf(NoLeaderError);
  await expect(failing).rejects.toThrow('do not answer: no leader');
  expect(needs.clock.monotonic()).toBeGreaterThanOrEqual(15 * 60_000);
});

test('a process that is to stop does not wait', async () => {
  const { needs, ending } = patience();
  ending.abort();
  await expect(onceLed(() => Promise.reject(away()), needs)).rejects.toThrow('Try again later');
});

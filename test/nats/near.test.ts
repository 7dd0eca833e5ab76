/** What passed through a moment ago is still here, and no more than may be. */
import { expect, test } from 'vitest';
import { createNear } from '../../src/nats/near.ts';

test('what was put is there, byte for byte, whatever becomes of the buffer it came in', () => {
  const near = createNear();
  const buffer = Buffer.from('one mail and another');
  near.put(7, buffer.subarray(0, 8));
  buffer.fill(0);
  expect(Buffer.from(near.get(7) ?? []).toString()).toBe('one mail');
  expect(near.get(8)).toBeUndefined();
});

test('the oldest goes when there is no room', () => {
  const near = createNear(100);
  for (const seq of [1, 2, 3]) near.put(seq, Buffer.alloc(40, seq));
  expect([1, 2, 3].map((seq) => near.get(seq)?.byteLength)).toEqual([undefined, 40, 40]);
  near.put(3, Buffer.alloc(40, 9));
  expect(near.get(2)?.byteLength).toBe(40);
});

test('a large message pushes out nothing', () => {
  const near = createNear();
  near.put(1, Buffer.alloc(10));
  near.put(2, Buffer.alloc(64 * 1024 + 1));
  expect([near.get(1)?.byteLength, near.get(2)]).toEqual([10, undefined]);
});

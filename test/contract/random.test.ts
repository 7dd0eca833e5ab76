import { expect, test } from 'vitest';
import { systemRandom } from '../../src/clock.ts';
import { createFakeRandom } from '../support/fake/random.ts';
import { randomContract } from './random.ts';

randomContract('the system', () => systemRandom);
randomContract('simulated', () => createFakeRandom(7));

test('the same seed gives the same randomness, another seed another', () => {
  const draw = (seed: number): string => {
    const random = createFakeRandom(seed);
    return `${Buffer.from(random.bytes(32)).toString('hex')} ${random.fraction()}`;
  };
  expect(draw(1)).toBe(draw(1));
  expect(draw(1)).not.toBe(draw(2));
});

/** What every source of randomness must show, real or simulated. */
import { describe, expect, test } from 'vitest';
import type { Random } from '../../src/world.ts';

/** More than the real one draws from the system at once. */
const LENGTHS = [0, 1, 16, 26, 4_096, 4_097, 10_000];
const BYTES = 65_536;
const FRACTIONS = 10_000;

export function randomContract(name: string, open: () => Random): void {
  describe(`randomness (${name})`, () => {
    test('gives as many bytes as are asked for', () => {
      const random = open();
      for (const length of LENGTHS) expect(random.bytes(length)).toHaveLength(length);
    });

    test('gives no bytes twice, however they are cut', () => {
      const random = open();
      const drawn = Array.from({ length: 5_000 }, (_, i) => random.bytes(8 + (i % 9)));
      const heads = drawn.map((bytes) => Buffer.from(bytes.subarray(0, 8)).toString('hex'));
      expect(new Set(heads).size).toBe(drawn.length);
    });

    test('leaves what it gave alone, and whoever got it may change it', () => {
      const random = open();
      const first = random.bytes(32);
      const copy = Buffer.from(first);
      const second = random.bytes(32);
      const other = Buffer.from(second);
      for (let i = 0; i < 1_000; i++) random.bytes(32);
      expect(Buffer.from(first)).toEqual(copy);
      first.fill(0);
      expect(Buffer.from(second)).toEqual(other);
      expect(Buffer.from(random.bytes(32))).not.toEqual(Buffer.alloc(32));
    });

    test('has every byte about as often as any other', () => {
      const counts = new Array<number>(256).fill(0);
      for (const byte of open().bytes(BYTES)) counts[byte] = (counts[byte] ?? 0) + 1;
      // 256 of each, with a deviation of 16: eight of them do not happen by chance.
      for (const count of counts) expect(Math.abs(count - BYTES / 256)).toBeLessThan(128);
    });

    test('has fractions in [0, 1) that are spread evenly', () => {
      const random = open();
      const tenths = new Array<number>(10).fill(0);
      for (let i = 0; i < FRACTIONS; i++) {
        const fraction = random.fraction();
        expect(fraction >= 0 && fraction < 1).toBe(true);
        const tenth = Math.floor(fraction * 10);
        tenths[tenth] = (tenths[tenth] ?? 0) + 1;
      }
      // 1,000 of each, with a deviation of 30.
      for (const count of tenths) expect(Math.abs(count - FRACTIONS / 10)).toBeLessThan(240);
    });
  });
}

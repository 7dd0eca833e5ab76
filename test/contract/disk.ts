/** What every disk must show, real or simulated. */
import { describe, expect, test } from 'vitest';
import type { Disk } from '../../src/world.ts';

export function diskContract(name: string, open: () => Disk): void {
  describe(`a disk (${name})`, () => {
    test('says how many whole bytes are free', async () => {
      const free = await open().freeBytes();
      expect(Number.isSafeInteger(free)).toBe(true);
      expect(free).toBeGreaterThan(0);
    });
  });
}

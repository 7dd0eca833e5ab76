/** Waits for what must become true: often and for long, as a loaded machine is slow, not wrong. */
import { expect } from 'vitest';

const EVENTUALLY = { timeout: 60_000, interval: 10 } as const;

/** `eventually(look).toBe(x)`: looks again until it is so; one that throws came too early. */
export function eventually<T>(look: () => T) {
  return expect.poll(look, EVENTUALLY);
}

/**
 * Loaded before everything else into each Node process of a machine: its wall clock is as much off
 * as the file in CRASHLAB_CLOCK says, in ms, which may change at any time. Monotonic time goes on.
 */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

const LOOK_EVERY_MS = 50;
const file = process.env.CRASHLAB_CLOCK;
const RealDate = Date;
const realNow = RealDate.now.bind(RealDate);
let offset = 0;
let lookedAt = Number.NEGATIVE_INFINITY;

function now() {
  const at = performance.now();
  if (file !== undefined && at - lookedAt > LOOK_EVERY_MS) {
    lookedAt = at;
    try {
      offset = Number(readFileSync(file, 'utf8'));
    } catch {
      // It is being written: what it said before holds for another moment.
    }
  }
  return realNow() + offset;
}

globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(now());
    else super(...given);
  }

  static now() {
    return now();
  }
};

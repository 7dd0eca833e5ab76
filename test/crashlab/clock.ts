/** A machine's wall clock, as its Node processes see it; `clock.mjs` is the other half. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type MachineClock = {
  /** What a process is given to have this clock. */
  readonly env: Readonly<Record<string, string>>;
  /** Forward, or back. */
  jump(ms: number): void;
};

/** A clock that is right. */
export function createMachineClock(directory: string, name: string): MachineClock {
  const file = join(directory, `${name}.clock`);
  let offsetMs = 0;
  const set = (): void => {
    // Never read half written.
    writeFileSync(`${file}.new`, String(offsetMs));
    renameSync(`${file}.new`, file);
  };
  set();
  const preload = join(import.meta.dirname, 'clock.mjs');
  return {
    env: { CRASHLAB_CLOCK: file, NODE_OPTIONS: `--import=${preload}` },
    jump(ms) {
      offsetMs += ms;
      set();
    },
  };
}

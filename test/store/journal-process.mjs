// A process that accepts one number after another, writes each to a file once it is noted, and is killed.
import { openSync, writeSync } from 'node:fs';
import { silentLog } from '../../src/log.ts';
import { openJournal } from '../../src/store/journal.ts';
import { openEnv } from '../../src/store/open.ts';

const [path, said] = process.argv.slice(2);
const file = openSync(said, 'w');
const disk = { freeBytes: async () => 2 ** 40 };
const { journal } = openJournal(
  await openEnv(path, { disk, log: silentLog, outlives: 'process' }),
  { now: Date.now },
);
journal.open('chunk', 'token', new Uint8Array([1, 2, 3]));
let next = 1;
const worker = async () => {
  for (;;) {
    const number = next++;
    await journal.accepted('chunk', [number]);
    writeSync(file, `${number}\n`);
    if (number === 500) process.stdout.write('enough');
  }
};
for (let n = 0; n < 5; n += 1) void worker();

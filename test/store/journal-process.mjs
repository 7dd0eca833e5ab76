// A process that accepts one number after another, writes each to a file once it is noted, and is killed.
import { openSync, writeSync } from 'node:fs';
import { silentLog } from '../../src/log.ts';
import { openJournal } from '../../src/store/journal.ts';

const [path, said] = process.argv.slice(2);
const file = openSync(said, 'w');
const { journal } = await openJournal(path, { clock: { now: Date.now }, log: silentLog });
journal.open('chunk', 'token', new Uint8Array([1, 2, 3]));
for (let number = 1; ; number += 1) {
  journal.accepted('chunk', [number], { route: 'mta', at: 0 });
  writeSync(file, `${number}\n`);
  if (number === 500) process.stdout.write('enough');
}

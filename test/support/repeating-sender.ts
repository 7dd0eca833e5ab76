/** A process that sends for the one that started it: it notes a chunk that came again, and ends. */
import { silentLog } from '../../src/log.ts';
import { createRepeats } from '../../src/runners/repeats.ts';
import { tellNode } from '../../src/senders.ts';
import { aChunk } from './chunk.ts';

const meter = { count: () => undefined, observe: () => undefined };
const repeats = createRepeats({ log: silentLog, meter, tell: tellNode });
repeats.note(aChunk({ class: 'bulk' }), { deliveries: 1 }, 8);
repeats.note(aChunk({ class: 'bulk' }), { deliveries: 2 }, 7);
process.disconnect();

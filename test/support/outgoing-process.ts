/**
 * A process that sends one chunk to the sink on the port given, with its journal at the path given,
 * and is killed.
 */
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';
import { createPool } from '../../src/smtp/pool.ts';
import { createSmtp } from '../../src/smtp/send.ts';
import { openJournal } from '../../src/store/journal.ts';
import { chunkOf, outgoingStory } from './outgoing-story.ts';

const [path = '', port = '', members = ''] = process.argv.slice(2);
const clock = systemClock;
const smtp = createSmtp({ url: `smtp://127.0.0.1:${port}`, name: 'client.example', tls: 'off' });
const route = createPool({ name: 'mta', smtp, clock, log: silentLog, connectionsMax: 5 });
const { journal } = await openJournal(path, { clock, log: silentLog });
await outgoingStory({ route, journal, clock }).dispose(chunkOf(Number(members), {}, clock.now()));

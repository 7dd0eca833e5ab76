/** What `troupe doctor` can say from the data directory alone, where no site answers. Changes nothing. */

import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { unreachable } from '../assert.ts';
import type { Config } from '../config.ts';
import { holderOf } from '../data-directory.ts';
import { readMark, readNote, storeDirectory } from '../nats/note.ts';
import { type Check, fail, guarded, ok, warn } from './checks.ts';
import { diskCheck } from './doctor-nodes.ts';
import { bytesText } from './print.ts';

/** What a look at folded rows tells (src/store/look.ts). */
type Look =
  | { readonly kind: 'none' }
  | { readonly kind: 'damaged'; readonly damage: string }
  | {
      readonly kind: 'whole';
      readonly lists: number;
      readonly reached: number;
      readonly aside: readonly { readonly list: string; readonly why: string }[];
    };

/** `lookAt` opens the folded rows in a directory; only called while no node runs on them. */
export async function diskChecks(
  config: Config,
  lookAt: (path: string) => Promise<Look>,
): Promise<readonly Check[]> {
  const { data } = config;
  if ((await stat(data).catch(() => null)) === null) {
    return [fail('data', `there is no ${data}: nothing ever ran here; see --config`)];
  }
  const { bavail, bsize } = await statfs(data);
  const holder = await holderOf(data);
  return [
    diskCheck(bavail * bsize, `under ${data}`),
    holder === null
      ? ok('data', `${data} is used by no process: start its node`)
      : warn('data', `process ${holder} has ${data} but does not answer: see its log`),
    ...(holder === null ? await guarded('rows', () => rows(data, lookAt)) : []),
    ...(config.nats.url === undefined ? await guarded('nats', () => store(data)) : []),
  ];
}

async function rows(
  data: string,
  lookAt: (path: string) => Promise<Look>,
): Promise<readonly Check[]> {
  const look = await lookAt(join(data, 'state'));
  switch (look.kind) {
    case 'none':
      return [ok('rows', 'nothing is folded yet: the ledger will be, at the next start')];
    case 'damaged':
      return [warn('rows', `${look.damage}: moved aside and folded again at the next start`)];
    case 'whole':
      return [
        ok('rows', `${look.lists} lists, folded up to ${look.reached} of the ledger`),
        ...look.aside.map(({ list, why }) =>
          fail(
            'lists',
            `${list} is set aside (${why}): start the node, troupe doctor --repair ${list}`,
          ),
        ),
      ];
    default:
      return unreachable(look);
  }
}

/** The embedded server's store: it holds all mail and every list's history. */
async function store(data: string): Promise<readonly Check[]> {
  const directory = storeDirectory(data);
  const mark = await readMark(data);
  if (mark === null) return [warn('nats', `there is no store in ${directory} yet`)];
  const { files, bytes } = await sizeOf(directory);
  const note = await readNote(data);
  const port = note === null ? 'unknown' : String(note.port);
  return [
    ok(
      'nats',
      `${directory}: ${files} files, ${bytesText(bytes)} of ${bytesText(mark.maxFileStore)}`,
    ),
    ok(
      'nats',
      `marked standalone since ${mark.since}, last on port ${port}; never give it to a cluster`,
    ),
  ];
}

async function sizeOf(directory: string): Promise<{ files: number; bytes: number }> {
  const found = await readdir(directory, { recursive: true, withFileTypes: true });
  let files = 0;
  let bytes = 0;
  for (const entry of found) {
    if (!entry.isFile()) continue;
    files += 1;
    // It may go while we look: NATS rewrites its files.
    bytes += (await stat(join(entry.parentPath, entry.name)).catch(() => null))?.size ?? 0;
  }
  return { files, bytes };
}

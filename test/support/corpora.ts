/**
 * Real mail made by others, for tests only. It lies beside the repository, never in it, and may be
 * absent: then the tests that need it say so loudly and are skipped.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

/** The folder beside the repository that holds the corpora, with a slash at its end. */
export const SHARED = fileURLToPath(new URL('../../../shared/', import.meta.url));

/**
 * True, and said on stderr, if a corpus such as `archives` is not there:
 * `test.skipIf(corpusSkip('mime'))`.
 */
export function corpusSkip(name: string): boolean {
  if (existsSync(join(SHARED, 'corpora', name))) return false;
  process.stderr.write(`SKIPPED: the corpus \`${name}\` is not beside the repository\n`);
  return true;
}

/** Every file of a corpus below `name`, sorted, whose name the filter takes. */
export function corpusFiles(name: string, takes: (path: string) => boolean = () => true): string[] {
  const root = join(SHARED, 'corpora', name);
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((path) => join(root, path))
    .filter((path) => takes(path) && statSync(path).isFile())
    .sort();
}

/**
 * The messages of a gzipped mbox of `archives`, without their `From ` lines, bytes as they stand.
 */
export function mboxMessages(name: string): Buffer[] {
  const mbox = gunzipSync(readFileSync(join(SHARED, 'corpora', 'archives', name)));
  const messages: Buffer[] = [];
  for (let at = 0; at < mbox.length; ) {
    const next = mbox.indexOf('\n\nFrom ', at);
    const end = next < 0 ? mbox.length : next + 1;
    messages.push(mbox.subarray(mbox.indexOf('\n', at) + 1, end));
    at = end + 1;
  }
  return messages;
}

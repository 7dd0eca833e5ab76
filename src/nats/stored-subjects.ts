/** Which subjects a stream has messages on: the server keeps them as a tree, and reads no message for it. */
import type { Nats } from './connect.ts';
import { apiRequest, failure } from './stored.ts';
import type { StreamName } from './streams.ts';

/** The server answers with at most so many a page (JSMaxSubjectDetails). */
const PAGE = 100_000;
const PAGES_MAX = 10;

/** The subjects that match the filter, at most a million. Throws MailError 451 when NATS is away. */
export async function subjectsIn(
  nats: Nats,
  stream: StreamName,
  filter: string,
): Promise<readonly string[]> {
  const found = new Set<string>();
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const answer = await apiRequest(nats, `$JS.API.STREAM.INFO.${stream}`, {
      subjects_filter: filter,
      offset: found.size,
    });
    if (answer.error !== undefined) throw failure(answer.error);
    const { subjects } = answer.state as { subjects?: Readonly<Record<string, number>> };
    const names = Object.keys(subjects ?? {});
    for (const name of names) found.add(name);
    if (names.length < PAGE) break;
  }
  return [...found];
}

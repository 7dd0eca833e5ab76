/**
 * Key-value buckets over plain messages: reads come from the stream's leader, writes are
 * compare-and-set, and watching survives whatever happens to the server. Rows are as NATS' own
 * clients keep them, so an operator may look with `nats kv`.
 */
import { assert } from '../assert.ts';
import { OperatorError } from '../errors.ts';
import type { Kv } from '../world.ts';
import type { Nats } from './connect.ts';
import { createPublisher, type Publisher, WrongSequence } from './publisher.ts';
import { apiRequest, failure, type Stored, storedMessage } from './stored.ts';
import { type BucketName, bucketStream } from './streams.ts';
import { tail } from './tail.ts';

/** NATS' own grammar of keys; an address, for one, is no key. */
const KEY = /^[-/_=a-zA-Z0-9]+(?:\.[-/_=a-zA-Z0-9]+)*$/;
/** Marks a row as deleted; the row itself stays until the key is made again. */
const OPERATION = 'KV-Operation';

/**
 * Opens a bucket that `ensureStreams` made. Throws OperatorError if there is none. All it does
 * throws MailError 451 4.3.0 while NATS is away (what was written is then not known) and 452 4.3.1
 * when the bucket is full.
 */
export async function openKv(nats: Nats, bucket: BucketName): Promise<Kv> {
  const stream = bucketStream(bucket);
  await checkExists(nats, stream);
  const publisher = createPublisher(nats);
  const prefix = `$KV.${bucket}.`;
  const subjectOf = (key: string): string => {
    assert(KEY.test(key), `not a key: ${key}`);
    return prefix + key;
  };
  const last = (key: string): Promise<Stored | null> =>
    storedMessage(nats, stream, { last_by_subj: subjectOf(key) });

  return {
    async get(key) {
      const row = await last(key);
      if (row === null || isDeletion(row.header(OPERATION))) return null;
      return { key, value: row.data, revision: row.seq };
    },
    async create(key, value) {
      const revision = await put(publisher, subjectOf(key), value, 0);
      if (revision !== null) return revision;
      const row = await last(key);
      if (row === null || !isDeletion(row.header(OPERATION))) return null;
      return put(publisher, subjectOf(key), value, row.seq);
    },
    update: (key, value, revision) => put(publisher, subjectOf(key), value, revision),
    async delete(key) {
      const headers = { [OPERATION]: 'DEL' };
      await publisher.publish(subjectOf(key), new Uint8Array(0), { headers });
    },
    async *watch(signal) {
      const of = { stream, subject: `${prefix}>`, after: 0 };
      for await (const row of tail(nats, of, signal)) {
        if (row === 'ready') yield row;
        else {
          const value = isDeletion(row.header(OPERATION)) ? null : row.data;
          yield { key: row.subject.slice(prefix.length), value, revision: row.seq };
        }
      }
    },
  };
}

async function checkExists(nats: Nats, stream: string): Promise<void> {
  const { error } = await apiRequest(nats, `$JS.API.STREAM.INFO.${stream}`, {});
  if (error === undefined) return;
  if (error.err_code !== STREAM_NOT_FOUND) throw failure(error);
  throw new OperatorError(
    `the NATS server has no bucket ${stream}`,
    'Start a node of this site first, and check that `nats.url` is the site you mean.',
  );
}

const STREAM_NOT_FOUND = 10_059;

/** Stores if `revision` is the key's last, 0 for none; the new revision, or null. */
async function put(
  publisher: Publisher,
  subject: string,
  value: Uint8Array,
  revision: number,
): Promise<number | null> {
  try {
    return (await publisher.publish(subject, value, { expectLast: revision })).seq;
  } catch (error) {
    if (error instanceof WrongSequence) return null;
    throw error;
  }
}

function isDeletion(operation: string): boolean {
  return operation === 'DEL' || operation === 'PURGE';
}

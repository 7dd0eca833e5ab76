/**
 * The mail that the route `capture` took: the newest of it, bounded by number and by bytes. An id
 * is the number of its arrival, so the newest id also says how many there ever were.
 */
import type { Captured, CapturedMail } from '../world.ts';
import { closeEnv, type Env } from './open.ts';

/** Mails kept. */
export const CAPTURED_MAX = 1_000;
/** Of their messages, bytes. */
export const CAPTURED_BYTES_MAX = 64 * 1024 * 1024;
/** Mails of one page. */
const PAGE_MAX = 100;

export type CapturedStore = CapturedMail & {
  /** Resolves when it would outlive the process. */
  keep(mail: Omit<Captured, 'id'>): Promise<void>;
  close(): Promise<void>;
};

type Limits = { readonly mailsMax: number; readonly bytesMax: number };

/** Opens over an environment of its own (`openEnv`), which `close` closes. */
export function openCaptured(
  env: Env,
  limits: Limits = { mailsMax: CAPTURED_MAX, bytesMax: CAPTURED_BYTES_MAX },
): CapturedStore {
  const rows = env.openDB<Captured, number>({ name: 'captured', keyEncoding: 'uint32' });
  let [last] = rows.getKeys({ reverse: true, limit: 1 });
  last ??= 0;
  let newest: number = last;
  /** What is kept, oldest first: who goes next, and how much that frees. */
  const kept: { readonly id: number; readonly bytes: number }[] = [];
  let bytes = 0;
  for (const { key, value } of rows.getRange()) {
    kept.push({ id: key, bytes: value.message.byteLength });
    bytes += value.message.byteLength;
  }

  function dropOldest(): void {
    while (kept.length > limits.mailsMax || (bytes > limits.bytesMax && kept.length > 1)) {
      const oldest = kept.shift();
      if (oldest === undefined) return;
      bytes -= oldest.bytes;
      void rows.remove(oldest.id);
    }
  }

  return {
    async keep(mail) {
      newest += 1;
      const committed = rows.put(newest, { id: newest, ...mail });
      kept.push({ id: newest, bytes: mail.message.byteLength });
      bytes += mail.message.byteLength;
      dropOldest();
      await committed;
    },
    list(before, limit) {
      const start = Math.min((before ?? newest + 1) - 1, newest);
      if (start < 1) return [];
      const range = rows.getRange({ start, reverse: true, limit: Math.min(limit, PAGE_MAX) });
      return Array.from(range, ({ value }) => value);
    },
    get: (id) => rows.get(id) ?? null,
    count: () => newest,
    async close() {
      await env.committed;
      await closeEnv(env);
    },
  };
}

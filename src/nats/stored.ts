/**
 * Single requests, reads and deletions of the JetStream API over plain messages. A read is always
 * answered by the stream's leader, so it is never older than what was acknowledged before it was
 * asked (design §4).
 */
import { MailError } from '../errors.ts';
import type { Nats } from './connect.ts';

/**
 * How long the server may take to answer one request, ms; making a stream in a cluster elects a
 * leader first.
 */
export const REQUEST_MS_MAX = 5_000;

/** JetStream's own error numbers (server/errors.json) that are answers here, not failures. */
const NO_MESSAGE_FOUND = 10_037;
const MESSAGE_DELETE_FAILED = 10_057;

/** A stored message; `header` gives '' for what is absent. */
export type Stored = {
  readonly subject: string;
  readonly seq: number;
  readonly data: Uint8Array;
  header(name: string): string;
};

/** What the server refused, in its own words. */
export type ApiError = {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
};

/** What every JetStream answer looks like from outside; who asked reads the rest. */
export type ApiAnswer = { readonly error?: ApiError } & Readonly<Record<string, unknown>>;

type StoredJson = {
  readonly subject: string;
  readonly seq: number;
  readonly hdrs?: string;
  readonly data?: string;
};

const utf8 = new TextDecoder();

/**
 * One request (`$JS.API.…`) and its JSON answer, JetStream's refusals included.
 * Throws MailError 451 4.3.0 when there was no answer: whether it was done is then not known.
 */
export async function apiRequest(nats: Nats, subject: string, body: unknown): Promise<ApiAnswer> {
  const reply = await nats.request(subject, JSON.stringify(body));
  try {
    return JSON.parse(utf8.decode(reply.data)) as ApiAnswer;
  } catch (error) {
    throw away(error); // No JetStream there: an empty answer.
  }
}

/** The pages that a list of the API may have: 100 × 256 entries. */
const PAGES_MAX = 100;

/**
 * All that an API of lists (`STREAM.LIST`, `CONSUMER.LIST.<stream>`) gives under `field`.
 * Throws MailError 451 4.3.0 when there was no answer.
 */
export async function listed<T>(nats: Nats, api: string, field: string): Promise<readonly T[]> {
  const all: T[] = [];
  for (let page = 0; page < PAGES_MAX; page++) {
    const answer = await apiRequest(nats, `$JS.API.${api}`, { offset: all.length });
    if (answer.error !== undefined) throw failure(answer.error);
    const some = (answer[field] ?? []) as readonly T[];
    all.push(...some);
    if (some.length === 0 || all.length >= Number(answer.total ?? 0)) break;
  }
  return all;
}

/**
 * The message of this sequence, or the last of this subject; null if there is none (any more).
 * Throws MailError 451 4.3.0 if it cannot be read now.
 */
export async function storedMessage(
  nats: Nats,
  stream: string,
  which: { readonly seq: number } | { readonly last_by_subj: string },
): Promise<Stored | null> {
  const answer = await apiRequest(nats, `$JS.API.STREAM.MSG.GET.${stream}`, which);
  if (answer.error?.err_code === NO_MESSAGE_FOUND) return null;
  if (answer.error !== undefined) throw failure(answer.error);
  const { subject, seq, hdrs, data } = answer.message as StoredJson;
  const block = Buffer.from(hdrs ?? '', 'base64').toString('latin1');
  return {
    subject,
    seq,
    data: Buffer.from(data ?? '', 'base64'),
    header: (name) => headerOf(block, name),
  };
}

/**
 * Deletes one message; false if it was gone already. Throws MailError 451 4.3.0 if that cannot be
 * done now.
 */
export async function deleteStored(nats: Nats, stream: string, seq: number): Promise<boolean> {
  const subject = `$JS.API.STREAM.MSG.DELETE.${stream}`;
  const { error } = await apiRequest(nats, subject, { seq, no_erase: true });
  if (error === undefined) return true;
  const number = error.err_code ?? 0;
  if (number === NO_MESSAGE_FOUND || number === MESSAGE_DELETE_FAILED) return false;
  throw failure(error);
}

/** What JetStream would not do, as mail says it: 451 4.3.0, with its own words as the cause. */
export function failure(error: ApiError): MailError {
  return away(new Error(`JetStream error ${error.err_code ?? 0}: ${error.description ?? ''}`));
}

/** NATS did not answer, or is not there: 451 4.3.0. */
export function away(cause: unknown): MailError {
  return new MailError(451, '4.3.0', 'Mail system is not ready, try again later', cause);
}

/** One header of a stored header block (a status line, then `Name: value` lines); '' if absent. */
function headerOf(block: string, name: string): string {
  const start = `\r\n${name}:`;
  const at = block.indexOf(start);
  if (at < 0) return '';
  const end = block.indexOf('\r\n', at + start.length);
  return block.slice(at + start.length, end < 0 ? undefined : end).trim();
}

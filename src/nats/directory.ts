/**
 * The directory: the truth about which names are lists (design §4 "Creating a list").
 *
 *   <base32 of SHA-256 of the address>  → one list: its address, key, state and size limit
 *   p.<prefix>                          → the keys that begin so, for machine addresses
 *
 * To `create` the entry is what makes a name unique. A retired name stays, so that nobody else can
 * ever be sent mail that was meant for that list. An address is not a legal KV key, hence the hash.
 */
import { createHash } from 'node:crypto';
import { assert } from '../assert.ts';
import { MailError } from '../errors.ts';
import { type Address, addressKey, parseAddress } from '../mail/address.ts';
import { BASE32, type ListKey, parseListKey, prefixOf } from '../mail/list-key.ts';
import type { Kv } from '../world.ts';

/**
 * `new`: its actor has not said yet that it exists. `full`: it takes no more mail now. `retired`:
 * for ever.
 */
export type DirectoryState = 'new' | 'active' | 'full' | 'retired';

export type DirectoryEntry = {
  readonly address: Address;
  readonly key: ListKey;
  readonly state: DirectoryState;
  /** The list's size limit, bytes; the edge refuses more (552). */
  readonly maxMessageBytes: number;
};

/**
 * All but `mirror` read and write at the leader, and throw MailError 451 4.3.0 when that cannot be
 * done now.
 */
export type Directory = {
  find(address: Address): Promise<DirectoryEntry | null>;
  /** Keys that begin with this prefix; for machine addresses that no mirror knows yet. */
  keysByPrefix(prefix: string): Promise<readonly ListKey[]>;
  /**
   * Takes the name for this key, in state `new`. The name's entry is given back as it is when it is
   * taken already, by this key or another. Doing it again completes what a crash interrupted.
   */
  reserve(
    address: Address,
    key: ListKey,
    maxMessageBytes: number,
  ): Promise<{ readonly entry: DirectoryEntry; readonly created: boolean }>;
  /**
   * Makes the entry say what the list now is; doing it again changes nothing, and retired is final.
   * Throws MailError 554 5.3.5 if the name is another list's.
   */
  publish(
    address: Address,
    key: ListKey,
    state: Exclude<DirectoryState, 'new'>,
    maxMessageBytes: number,
  ): Promise<void>;
  /**
   * Resolves with a copy in memory once all has been read; it is kept current until the signal
   * aborts.
   */
  mirror(signal: AbortSignal): Promise<DirectoryMirror>;
};

/** All lists of the site in memory, some 400 bytes each. It may lag by the time a message takes. */
export type DirectoryMirror = {
  find(address: Address): DirectoryEntry | null;
  keysByPrefix(prefix: string): readonly ListKey[];
  byKey(key: ListKey): DirectoryEntry | null;
  readonly size: number;
  all(): Iterable<DirectoryEntry>;
  /** Resolves when the signal aborted; rejects if the mirror can no longer be kept current. */
  readonly ended: Promise<void>;
};

/** Compare-and-set attempts on one entry; each one lost means that another writer got through. */
const TRIES_MAX = 16;
/**
 * Keys that share a prefix of 40 random bits: two are rare, more than this is a bug or an attack.
 */
const SAME_PREFIX_MAX = 256;
const STATES: readonly string[] = ['new', 'active', 'full', 'retired'];

export function createDirectory(kv: Kv): Directory {
  return {
    async find(address) {
      const stored = await kv.get(entryKey(address));
      return stored === null ? null : entryOf(stored.value);
    },
    async keysByPrefix(prefix) {
      const stored = await kv.get(prefixKey(prefix));
      return stored === null ? [] : keysOf(stored.value);
    },
    reserve: (address, key, maxMessageBytes) =>
      reserve(kv, { address, key, state: 'new', maxMessageBytes }),
    publish: (address, key, state, maxMessageBytes) =>
      publish(kv, { address, key, state, maxMessageBytes }),
    mirror: (signal) => openMirror(kv, signal),
  };
}

async function reserve(
  kv: Kv,
  wanted: DirectoryEntry,
): Promise<{ entry: DirectoryEntry; created: boolean }> {
  const id = entryKey(wanted.address);
  const created = (await kv.create(id, encode(wanted))) !== null;
  const stored = created ? null : await kv.get(id);
  if (!created && stored === null) throw contended();
  const entry = stored === null ? wanted : entryOf(stored.value);
  // After the entry, so that no key stands there without a name; a crash in between heals here or
  // in `publish`.
  await registerPrefix(kv, entry.key);
  return { entry, created };
}

async function publish(kv: Kv, wanted: DirectoryEntry): Promise<void> {
  const id = entryKey(wanted.address);
  await registerPrefix(kv, wanted.key);
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const stored = await kv.get(id);
    if (stored === null) {
      if ((await kv.create(id, encode(wanted))) !== null) return;
      continue;
    }
    const entry = entryOf(stored.value);
    if (entry.key !== wanted.key) throw new MailError(554, '5.3.5', 'The name is another list’s');
    if (entry.state === 'retired' || isSame(entry, wanted)) return;
    if ((await kv.update(id, encode(wanted), stored.revision)) !== null) return;
  }
  throw contended();
}

async function registerPrefix(kv: Kv, key: ListKey): Promise<void> {
  const id = prefixKey(prefixOf(key));
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const stored = await kv.get(id);
    const keys = stored === null ? [] : keysOf(stored.value);
    if (keys.includes(key)) return;
    assert(keys.length < SAME_PREFIX_MAX, `${keys.length} lists share the prefix of ${key}`);
    const value = encode([...keys, key]);
    const revision =
      stored === null ? await kv.create(id, value) : await kv.update(id, value, stored.revision);
    if (revision !== null) return;
  }
  throw contended();
}

// ── The mirror ────────────────────────────────────────────────────────────

/**
 * Rows that cannot be read are left out: the edge then asks the leader, and is told 451 rather than
 * 550.
 */
async function openMirror(kv: Kv, signal: AbortSignal): Promise<DirectoryMirror> {
  const byAddress = new Map<string, DirectoryEntry>();
  const byKey = new Map<ListKey, DirectoryEntry>();
  const byPrefix = new Map<string, readonly ListKey[]>();
  const rows = kv.watch(signal)[Symbol.asyncIterator]();

  /** Folds rows until `ready`, or to the end; true if it was `ready`. */
  async function fold(): Promise<boolean> {
    for (;;) {
      const next = await rows.next();
      if (next.done === true) return false;
      if (next.value === 'ready') return true;
      const { key, value } = next.value;
      // Names are never deleted; what an operator removed by hand goes with the next start.
      if (value === null) continue;
      if (key.startsWith(PREFIX)) {
        const keys = readable(() => keysOf(value));
        // The very strings of the entries, where they are known: memory counts at 100,000 lists.
        const shared = keys?.map((one) => byKey.get(one)?.key ?? one);
        if (shared !== undefined) byPrefix.set(key.slice(PREFIX.length), shared);
        continue;
      }
      const entry = readable(() => entryOf(value));
      if (entry === null) continue;
      byAddress.set(addressKey(entry.address), entry);
      byKey.set(entry.key, entry);
    }
  }

  const isReady = await fold();
  const ended = isReady ? fold().then(() => undefined) : Promise.resolve();
  ended.catch(() => {}); // Whoever runs the mirror awaits it; until then it is not "unhandled".
  return {
    find: (address) => byAddress.get(addressKey(address)) ?? null,
    keysByPrefix: (prefix) => byPrefix.get(prefix) ?? [],
    byKey: (key) => byKey.get(key) ?? null,
    get size() {
      return byAddress.size;
    },
    all: () => byAddress.values(),
    ended,
  };
}

function readable<A>(read: () => A): A | null {
  try {
    return read();
  } catch {
    return null;
  }
}

// ── Rows ──────────────────────────────────────────────────────────────────

const PREFIX = 'p.';

/** Where a bucket has what it has of an address, whatever the case of its letters. */
export function entryKey(address: Address): string {
  return base32(createHash('sha256').update(addressKey(address)).digest());
}

function prefixKey(prefix: string): string {
  return `${PREFIX}${prefix}`;
}

/** RFC 4648 §6 in lower case, without padding. */
function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += BASE32[(value >> (bits - 5)) & 31];
  }
  if (bits > 0) text += BASE32[(value << (5 - bits)) & 31];
  return text;
}

const utf8 = new TextEncoder();
const text = new TextDecoder();

function encode(value: DirectoryEntry | readonly ListKey[]): Uint8Array {
  return utf8.encode(JSON.stringify(value));
}

/**
 * Throws MailError 451 4.3.0 for a row that is not ours or newer than we are: that is no reason to
 * bounce mail.
 */
function entryOf(value: Uint8Array): DirectoryEntry {
  const row = parse(value) as Partial<Record<keyof DirectoryEntry, unknown>> | null;
  const address = typeof row?.address === 'string' ? sameAddress(row.address) : null;
  const key = typeof row?.key === 'string' ? parseListKey(row.key) : null;
  const state = STATES.find((known) => known === row?.state) as DirectoryState | undefined;
  const maxMessageBytes = row?.maxMessageBytes;
  const isValid = address !== null && key !== null && state !== undefined;
  if (!isValid || typeof maxMessageBytes !== 'number') throw unreadable();
  return { address, key, state, maxMessageBytes };
}

/** We write addresses as the grammar does; the string of the row is kept, being the smaller one. */
function sameAddress(text: string): Address | null {
  return parseAddress(text) === text ? (text as Address) : null;
}

function keysOf(value: Uint8Array): readonly ListKey[] {
  const row = parse(value);
  if (!Array.isArray(row)) throw unreadable();
  const keys = row.map((key) => (typeof key === 'string' ? parseListKey(key) : null));
  const valid = keys.filter((key) => key !== null);
  if (valid.length < keys.length) throw unreadable();
  return valid;
}

function parse(value: Uint8Array): unknown {
  try {
    return JSON.parse(text.decode(value));
  } catch {
    return null;
  }
}

function isSame(a: DirectoryEntry, b: DirectoryEntry): boolean {
  return a.address === b.address && a.state === b.state && a.maxMessageBytes === b.maxMessageBytes;
}

function unreadable(): MailError {
  const cause = new Error('a row of the directory cannot be read');
  return new MailError(451, '4.3.0', 'Mail system is not ready, try again later', cause);
}

function contended(): MailError {
  const cause = new Error('too many writers of one directory entry');
  return new MailError(451, '4.3.0', 'Mail system is not ready, try again later', cause);
}

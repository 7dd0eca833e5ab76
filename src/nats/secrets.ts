/**
 * What a site is, in the bucket `troupe_site`: its id, the number of slots its lists were hashed
 * into, the version of its rows; and the secrets behind the MACs of machine addresses. Each is made
 * once, by whichever node comes first.
 */
import { OperatorError } from '../errors.ts';
import { SLOTS } from '../mail/list-key.ts';
import type { Kv, KvEntry, Random } from '../world.ts';

/** The newest signs, all verify: what was signed before a change of secrets stays valid. */
export type Secrets = {
  newest(): Uint8Array;
  /** Newest first; never empty. */
  all(): readonly Uint8Array[];
};

export type Site = {
  readonly clusterId: string;
  readonly slots: number;
  readonly schema: number;
};

/** The version of what this program writes into streams and buckets. */
export const SCHEMA = 1;
const SECRET_BYTES = 32;
/** Below this a MAC could be guessed: the row is damaged. */
const SECRET_BYTES_MIN = 16;
const CLUSTER_ID_BYTES = 8;

const SECRETS_KEY = 'secrets';
const SITE_KEY = 'site';

const utf8 = new TextEncoder();
const text = new TextDecoder();

/**
 * The site's secrets, made if there are none. With a signal they are followed until it aborts, so
 * that a secret added on another node verifies here at once. Throws OperatorError if the row cannot
 * be read, MailError 451 4.3.0 if NATS is away.
 */
export async function openSecrets(kv: Kv, random: Random, signal?: AbortSignal): Promise<Secrets> {
  const made = encode({ secrets: [Buffer.from(random.bytes(SECRET_BYTES)).toString('base64')] });
  let secrets = secretsOf((await getOrCreate(kv, SECRETS_KEY, made)).value);
  if (secrets === null) {
    throw new OperatorError(
      'the secrets of this site cannot be read',
      'Restore the key `secrets` of the bucket `troupe_site` from a backup.',
    );
  }
  let current: readonly [Uint8Array, ...Uint8Array[]] = secrets;
  if (signal !== undefined) follow(signal).catch(() => {}); // What was known before still verifies.
  return { newest: () => current[0], all: () => current };

  /** A row that cannot be read changes nothing. */
  async function follow(until: AbortSignal): Promise<void> {
    for await (const row of kv.watch(until)) {
      if (row === 'ready' || row.key !== SECRETS_KEY || row.value === null) continue;
      secrets = secretsOf(row.value);
      if (secrets !== null) current = secrets;
    }
  }
}

/**
 * The site as it was made, or as it is made now. Throws OperatorError if lists were hashed into
 * another number of slots or the rows are of a later version: to go on would split histories.
 */
export async function openSite(kv: Kv, random: Random): Promise<Site> {
  const clusterId = Buffer.from(random.bytes(CLUSTER_ID_BYTES)).toString('hex');
  const made: Site = { clusterId, slots: SLOTS, schema: SCHEMA };
  const site = parse((await getOrCreate(kv, SITE_KEY, encode(made))).value) as Partial<Site> | null;
  if (typeof site?.clusterId !== 'string' || site.slots !== SLOTS) {
    throw new OperatorError(
      `this site was made for ${site?.slots ?? 'an unknown number of'} slots, not ${SLOTS}`,
      'Use the version of Troupe that made it, or another NATS server.',
    );
  }
  if (typeof site.schema !== 'number' || site.schema > SCHEMA) {
    throw new OperatorError(
      `this site was written by a later version (schema ${site.schema}, not ${SCHEMA})`,
      'Use the version of Troupe that the rest of the site runs.',
    );
  }
  return { clusterId: site.clusterId, slots: site.slots, schema: site.schema };
}

/** Of several nodes that start at once one makes the row; the others find it. */
async function getOrCreate(kv: Kv, key: string, value: Uint8Array): Promise<KvEntry> {
  const found = await kv.get(key);
  if (found !== null) return found;
  const revision = await kv.create(key, value);
  if (revision !== null) return { key, value, revision };
  const other = await kv.get(key);
  if (other !== null) return other;
  throw new OperatorError(`\`${key}\` was deleted while this node started`, 'Start it again.');
}

function secretsOf(value: Uint8Array): readonly [Uint8Array, ...Uint8Array[]] | null {
  const row = parse(value) as { secrets?: unknown } | null;
  if (!Array.isArray(row?.secrets)) return null;
  const secrets = row.secrets.map((secret) => Buffer.from(String(secret), 'base64'));
  const [newest, ...older] = secrets;
  if (newest === undefined || secrets.some((one) => one.length < SECRET_BYTES_MIN)) return null;
  return [newest, ...older];
}

function encode(value: unknown): Uint8Array {
  return utf8.encode(JSON.stringify(value));
}

function parse(value: Uint8Array): unknown {
  try {
    return JSON.parse(text.decode(value));
  } catch {
    return null;
  }
}

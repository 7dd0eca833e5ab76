/**
 * The secrets behind the MACs of machine addresses, in the bucket `troupe_site`: made once, by
 * whichever node comes first.
 */
import { OperatorError } from '../errors.ts';
import type { Kv, Random } from '../world.ts';
import { encodeRow, getOrCreate, parseRow } from './site-row.ts';

/** The newest signs, all verify: what was signed before a change of secrets stays valid. */
export type Secrets = {
  newest(): Uint8Array;
  /** Newest first; never empty. */
  all(): readonly Uint8Array[];
};

const SECRET_BYTES = 32;
/** Below this a MAC could be guessed: the row is damaged. */
const SECRET_BYTES_MIN = 16;
const SECRETS_KEY = 'secrets';

/**
 * The site's secrets, made if there are none. With a signal they are followed until it aborts, so
 * that a secret added on another node verifies here at once. Throws OperatorError if the row cannot
 * be read, MailError 451 4.3.0 if NATS is away.
 */
export async function openSecrets(kv: Kv, random: Random, signal?: AbortSignal): Promise<Secrets> {
  const made = encodeRow({ secrets: [Buffer.from(random.bytes(SECRET_BYTES)).toString('base64')] });
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

function secretsOf(value: Uint8Array): readonly [Uint8Array, ...Uint8Array[]] | null {
  const row = parseRow(value) as { secrets?: unknown } | null;
  if (!Array.isArray(row?.secrets)) return null;
  const secrets = row.secrets.map((secret) => Buffer.from(String(secret), 'base64'));
  const [newest, ...older] = secrets;
  if (newest === undefined || secrets.some((one) => one.length < SECRET_BYTES_MIN)) return null;
  return [newest, ...older];
}

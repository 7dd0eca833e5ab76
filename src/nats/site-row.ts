/**
 * What a site is, in the bucket `troupe_site`: its id, the number of slots its lists were hashed
 * into, the version of its streams and rows. Made once, by whichever node comes first.
 */
import { OperatorError } from '../errors.ts';
import { SLOTS } from '../mail/list-key.ts';
import type { Kv, KvEntry, Random } from '../world.ts';
import { SCHEMA } from './streams.ts';

export type Site = {
  readonly clusterId: string;
  readonly slots: number;
  /** The version of Troupe's streams and rows that all of it has by now. */
  readonly schema: number;
  /** A node is changing its streams to a later version (`upgrade.ts`). */
  readonly isUpgrading?: boolean;
};

const CLUSTER_ID_BYTES = 8;
const SITE_KEY = 'site';

const utf8 = new TextEncoder();
const text = new TextDecoder();

/** The site as it was made, or as it is made now. Throws as {@link readSite}. */
export async function openSite(kv: Kv, random: Random): Promise<Site> {
  const clusterId = Buffer.from(random.bytes(CLUSTER_ID_BYTES)).toString('hex');
  const made: Site = { clusterId, slots: SLOTS, schema: SCHEMA };
  return siteOf(await getOrCreate(kv, SITE_KEY, encodeRow(made)), SCHEMA);
}

/**
 * The site and the revision of its row; null while it has none. Throws OperatorError if lists were
 * hashed into another number of slots or it is of a later version than `schema`: to go on would
 * split histories.
 */
export async function readSite(
  kv: Kv,
  schema = SCHEMA,
): Promise<{ readonly site: Site; readonly revision: number } | null> {
  const row = await kv.get(SITE_KEY);
  return row === null ? null : { site: siteOf(row, schema), revision: row.revision };
}

/** Replaces the row of `revision`; the new revision, or null if another has replaced it. */
export const replaceSite = (kv: Kv, site: Site, revision: number): Promise<number | null> =>
  kv.update(SITE_KEY, encodeRow(site), revision);

function siteOf({ value }: KvEntry, newest: number): Site {
  const site = parseRow(value) as Partial<Site> | null;
  if (typeof site?.clusterId !== 'string' || site.slots !== SLOTS) {
    throw new OperatorError(
      `this site was made for ${site?.slots ?? 'an unknown number of'} slots, not ${SLOTS}`,
      'Use the version of Troupe that made it, or another NATS server.',
    );
  }
  const { clusterId, slots, schema, isUpgrading } = site;
  if (typeof schema !== 'number' || schema > newest) {
    throw new OperatorError(
      `this site was written by a later version (schema ${schema}, not ${newest})`,
      'Use the version of Troupe that the rest of the site runs.',
    );
  }
  return { clusterId, slots, schema, ...(isUpgrading === true && { isUpgrading }) };
}

/** Of several nodes that start at once one makes the row; the others find it. */
export async function getOrCreate(kv: Kv, key: string, value: Uint8Array): Promise<KvEntry> {
  const found = await kv.get(key);
  if (found !== null) return found;
  const revision = await kv.create(key, value);
  if (revision !== null) return { key, value, revision };
  const other = await kv.get(key);
  if (other !== null) return other;
  throw new OperatorError(`\`${key}\` was deleted while this node started`, 'Start it again.');
}

export function encodeRow(value: unknown): Uint8Array {
  return utf8.encode(JSON.stringify(value));
}

/** Null where it is no JSON. */
export function parseRow(value: Uint8Array): unknown {
  try {
    return JSON.parse(text.decode(value));
  } catch {
    return null;
  }
}

/**
 * Brings the settings of a site that an earlier version made to what this one states: once, by one
 * node, and each change is logged.
 *
 * The site's row says which version its streams have. Whoever finds an older one claims the row,
 * changes what was stated otherwise then and still is so, and writes the version of its own. What an
 * operator changed by hand is something else than was ever stated, or differs at the same version:
 * it is left alone, and reported as drift.
 */
import { OperatorError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Clock, Kv } from '../world.ts';
import type { Nats } from './connect.ts';
import { readSite, replaceSite } from './site-row.ts';
import { type ApiAnswer, apiRequest, failure } from './stored.ts';
import { type Change, isSetting } from './streams.ts';

/** A claim this old belongs to a node that died: an upgrade is a handful of requests. */
const CLAIM_MS_MAX = 10_000;
const LOOK_AGAIN_MS = 100;

type Config = Readonly<Record<string, unknown>>;

/** A change as it is logged. */
type Told = Omit<Change, 'schema' | 'was'> & { readonly from: unknown; readonly to: unknown };

export type UpgradeNeeds = {
  readonly nats: Nats;
  /** The bucket `troupe_site`. */
  readonly rows: Kv;
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** The version that is stated, what it changed, and the settings themselves. */
  readonly schema: number;
  readonly changes: readonly Change[];
  stated(stream: string, consumer: string | undefined): Config | undefined;
};

/**
 * Resolves when the site has the version that is stated, whoever brought it there; at once where it
 * has no row yet: whatever is made now is made as stated. Throws OperatorError if the site is of a
 * later version or the server cannot change a setting in place, MailError 451 4.3.0 when NATS is
 * away, and an AbortError when `signal` ends the wait.
 */
export async function upgradeSite(needs: UpgradeNeeds): Promise<void> {
  const { rows, clock, log, signal, schema } = needs;
  let seen = 0;
  let seenAt = 0;
  for (;;) {
    const found = await readSite(rows, schema);
    if (found === null || found.site.schema === schema) return;
    const { site, revision } = found;
    if (revision !== seen) [seen, seenAt] = [revision, clock.monotonic()];
    if (site.isUpgrading === true && clock.monotonic() - seenAt < CLAIM_MS_MAX) {
      signal.throwIfAborted();
      await clock.sleep(LOOK_AGAIN_MS, signal);
      continue;
    }
    const claim = await replaceSite(rows, { ...site, isUpgrading: true }, revision);
    if (claim === null) continue; // Another node was first.
    const { isUpgrading: _, ...unclaimed } = site;
    try {
      await change(needs, site.schema);
    } catch (error) {
      await replaceSite(rows, unclaimed, claim).catch(() => null); // It would only be waited for.
      throw error;
    }
    if ((await replaceSite(rows, { ...unclaimed, schema }, claim)) === null) continue;
    log.info({ from: site.schema, to: schema }, 'the site has the settings of this version');
  }
}

async function change(needs: UpgradeNeeds, from: number): Promise<void> {
  const newer = needs.changes.filter(({ schema }) => schema > from);
  const groups = Map.groupBy(newer, ({ stream, consumer = '' }) => `${stream} ${consumer}`);
  for (const [first, ...rest] of groups.values()) {
    if (first !== undefined) await changeOne(needs, [first, ...rest]);
  }
}

/** All changes of one stream or durable, in one request. */
async function changeOne(
  { nats, log, stated }: UpgradeNeeds,
  changes: readonly [Change, ...Change[]],
): Promise<void> {
  const [{ stream, consumer }] = changes;
  const wanted = stated(stream, consumer);
  const info = consumer === undefined ? stream : `${stream}.${consumer}`;
  const kind = consumer === undefined ? 'STREAM' : 'CONSUMER';
  const found = await apiRequest(nats, `$JS.API.${kind}.INFO.${info}`, {});
  if (found.error?.code === 404 || wanted === undefined) return; // Made as stated, or stated no more.
  if (found.error !== undefined) throw failure(found.error);
  const config = found.config as Config;
  const next: Record<string, unknown> = {};
  for (const { setting, was } of changes) {
    if (isSetting(config[setting], was)) next[setting] = wanted[setting];
  }
  const told: readonly Told[] = Object.entries(next)
    .filter(([setting, to]) => !isSetting(config[setting], to))
    .map(([setting, to]) => ({
      ...{ stream, setting, from: config[setting], to },
      ...(consumer !== undefined && { consumer }),
    }));
  if (told.length === 0) return;
  const made = await update(nats, stream, consumer, { ...config, ...next });
  for (const one of told) {
    if (made.error !== undefined) throw cannot(one, made.error);
    if (!isSetting((made.config as Config)[one.setting], one.to)) throw cannot(one, {});
    log.info(one, 'a setting was changed: this version states another');
  }
}

function update(
  nats: Nats,
  stream: string,
  consumer: string | undefined,
  config: Config,
): Promise<ApiAnswer> {
  if (consumer === undefined) return apiRequest(nats, `$JS.API.STREAM.UPDATE.${stream}`, config);
  const subject = `$JS.API.CONSUMER.CREATE.${stream}.${consumer}.${config.filter_subject}`;
  return apiRequest(nats, subject, { stream_name: stream, config, action: 'update' });
}

/** An answer that is no leader, or none yet, is tried again by whoever starts us. */
function cannot(
  { stream, consumer, setting, from, to }: Told,
  error: { readonly code?: number; readonly description?: string },
): Error {
  if (error.code === 503) return failure({ ...error, code: error.code });
  const name = consumer === undefined ? stream : `the durable ${consumer} of ${stream}`;
  const words = error.description ?? 'it says nothing of why';
  return new OperatorError(
    `nats-server cannot change \`${setting}\` of ${name} from ${from} to ${to}: ${words}`,
    'Start the version of Troupe that ran here before; CHANGELOG.md says how to go on from it.',
  );
}

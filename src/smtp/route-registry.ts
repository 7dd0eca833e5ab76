/**
 * Which routes there are: those of the configuration, and over them what operators changed live, which stands in
 * `troupe_site` under `route.<name>`, so that it outlives a restart and every node has it.
 *
 * A row holds a route's whole settings, or null: it was taken away, whatever the file says. A route without a row is as the
 * file has it. No password is ever in a row (decision 0010): it may name a file that each node has, or else what this node's own
 * configuration has for the same user holds.
 */
import { isAbsolute } from 'node:path';
import type { RouteConfig } from '../config.ts';
import { leaves, ROUTES_MAX, routeSchema } from '../config-schema.ts';
import { MailError } from '../errors.ts';
import type { Kv } from '../world.ts';
import type { KvRow } from './route-health.ts';

/** What an operator may order; the right to do so is the right to publish on its subject. */
export type RouteOrder =
  | { readonly do: 'add'; readonly settings: Readonly<Record<string, unknown>> }
  /** A key with null goes back to its default. */
  | {
      readonly do: 'set';
      readonly name: string;
      readonly change: Readonly<Record<string, unknown>>;
    }
  | { readonly do: 'drain' | 'resume' | 'rm'; readonly name: string };

export type Registry = {
  /** Null where there is none. */
  get(name: string): RouteConfig | null;
  all(): readonly RouteConfig[];
  origin(name: string): 'file' | 'live';
  /** True once a route was changed live, whatever is left of it. */
  wasUsed(): boolean;
  /** What was read of `route.<name>`; true where it is news. */
  adopt(name: string, read: KvRow): boolean;
  /** Writes settings, or null for none. Throws MailError 451 where another node changes it at the same time. */
  put(name: string, settings: RouteConfig | null): Promise<void>;
};

const PREFIX = 'route.';
export const routeKey = (name: string): string => PREFIX + name;

export function createRegistry(
  file: readonly RouteConfig[],
  kv: Pick<Kv, 'create' | 'update'>,
): Registry {
  const seeds = new Map(file.map((route) => [route.name, route]));
  const rows = new Map<string, { settings: RouteConfig | null | undefined; revision: number }>();

  function get(name: string): RouteConfig | null {
    const settings = rows.get(name)?.settings;
    const seed = seeds.get(name) ?? null;
    if (settings === undefined || settings === null) return settings === null ? null : seed;
    return withPasswordOf(seed, settings);
  }

  return {
    get,
    all: () =>
      [...new Set([...seeds.keys(), ...rows.keys()])]
        .flatMap((name) => get(name) ?? [])
        .sort(byName),
    origin: (name) => (rows.get(name)?.settings === undefined ? 'file' : 'live'),
    wasUsed: () => rows.size > 0,
    adopt(name, { value, revision }) {
      if (revision <= (rows.get(name)?.revision ?? 0)) return false;
      rows.set(name, { settings: value === null ? undefined : settingsIn(value), revision });
      return true;
    },
    async put(name, settings) {
      const kept = settings && withoutPasswordOf(seeds.get(name) ?? null, settings);
      const value = new TextEncoder().encode(JSON.stringify(kept));
      const known = rows.get(name)?.revision ?? 0;
      const written = await (known === 0
        ? kv.create(routeKey(name), value)
        : kv.update(routeKey(name), value, known));
      if (written === null) {
        throw new MailError(451, '4.3.0', 'this route was changed at the same time; try again');
      }
      rows.set(name, { settings: kept, revision: written });
    },
  };
}

/** What no row says: the password, and where the configuration of this node has it. */
function withoutPasswordOf(seed: RouteConfig | null, settings: RouteConfig): RouteConfig {
  const { password: _, passwordFile, ...rest } = settings;
  const isLive = passwordFile !== undefined && passwordFile !== seed?.passwordFile;
  return isLive ? { ...rest, passwordFile } : rest;
}

function withPasswordOf(seed: RouteConfig | null, settings: RouteConfig): RouteConfig {
  if (settings.passwordFile !== undefined || seed?.user !== settings.user) return settings;
  const { password, passwordFile } = seed ?? {};
  return {
    ...settings,
    ...(password !== undefined && { password }),
    ...(passwordFile !== undefined && { passwordFile }),
  };
}

/** The slices are drawn in this order, the same on every node. */
const byName = (a: RouteConfig, b: RouteConfig): number => (a.name < b.name ? -1 : 1);

/** The name that a key of `troupe_site` is about; null for other rows. */
export function nameIn(key: string, prefix = PREFIX): string | null {
  return key.startsWith(prefix) ? key.slice(prefix.length) : null;
}

/** An earlier build wrote passwords; they are not used any more. */
const rowSchema = routeSchema.transform(({ password: _, ...settings }) => settings);

/** A row that cannot be read, a later version's, is as none: the file's route is better than no route. */
function settingsIn(value: Uint8Array): RouteConfig | null | undefined {
  try {
    const parsed = JSON.parse(new TextDecoder().decode(value)) as unknown;
    return parsed === null ? null : rowSchema.safeParse(parsed).data;
  } catch {
    return undefined;
  }
}

/** The settings after an order to add or to set. Throws MailError 501 that says what is wrong, 550 where there is no such route. */
export function settingsAfter(
  order: Extract<RouteOrder, { do: 'add' | 'set' }>,
  registry: Pick<Registry, 'get' | 'all'>,
): RouteConfig {
  refusePassword(order.do === 'add' ? order.settings : order.change);
  if (order.do === 'add') {
    const settings = checked(order.settings);
    if (registry.get(settings.name) !== null) {
      throw new MailError(553, '5.5.4', `there is a route ${settings.name} already; set it`);
    }
    if (registry.all().length >= ROUTES_MAX) {
      throw new MailError(553, '5.5.4', `there are ${ROUTES_MAX} routes, which is the most`);
    }
    return settings;
  }
  const before = registry.get(order.name);
  if (before === null) throw noSuchRoute(order.name);
  const changed = Object.entries({ ...before, ...order.change });
  const settings = Object.fromEntries(changed.filter(([, value]) => value !== null));
  return checked({ ...settings, name: order.name });
}

/** What is changed live stands in `troupe_site`, which whoever may use the account of NATS may read. */
function refusePassword({ url, password, passwordFile }: Readonly<Record<string, unknown>>): void {
  const { username, password: inUrl } = new URL(URL.canParse(String(url)) ? String(url) : 'x:');
  if ((password ?? null) !== null || `${username}${inUrl}` !== '') {
    const why = 'a login given so could be read by all who may use NATS';
    throw new MailError(501, '5.5.4', `${why}: say user=NAME and passwordFile=/PATH`);
  }
  if (typeof passwordFile === 'string' && !isAbsolute(passwordFile)) {
    throw new MailError(
      501,
      '5.5.4',
      'passwordFile must be an absolute path on each node that sends',
    );
  }
}

export const noSuchRoute = (name: string): MailError =>
  new MailError(550, '5.1.1', `there is no route ${name}`);

function checked(settings: Readonly<Record<string, unknown>>): RouteConfig {
  const parsed = routeSchema.safeParse(settings);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const key = String(issue?.path[0] ?? '');
  if (issue?.code === 'unrecognized_keys') {
    throw new MailError(501, '5.5.4', `a route has no ${issue.keys.join(', ')}`);
  }
  const leaf = leaves().find(({ path }) => path.join('.') === `routes.*.${key}`);
  throw new MailError(501, '5.5.4', `${key} must be ${leaf?.expected ?? 'given'}`);
}

/** What `troupe.inspect.route.*` answers: each route, its slice, and what it carries now. No password is in it. */
import { sharesOf } from './choice.ts';
import type { LiveRoute } from './live-route.ts';
import type { Routes } from './routes.ts';

export type RouteView = {
  readonly name: string;
  /** Protocol, host and port. */
  readonly to: string;
  readonly role: 'primary' | 'fallback';
  readonly weight: number;
  /** The part of this node's mail that it gets now where no rule says otherwise, a warming one less. A fallback's is 0 while a primary works. */
  readonly share: number;
  readonly mode: string;
  /** Since when, ms since the epoch, and which node saw it. */
  readonly since: number;
  readonly by: string;
  /** How it failed last, where it did. */
  readonly how: string | null;
  /** Why the node that answers cannot send over it, e.g. its password cannot be read there; null: it can. */
  readonly problem: string | null;
  /** On the node that answers: chunks in hand, those that wait for a place, and the most of both. */
  readonly inHand: number;
  readonly waiting: number;
  readonly room: number;
  readonly connections: { readonly open: number; readonly idle: number; readonly max: number };
  /** Recipients so far, on the node that answers, since it started. */
  readonly accepted: number;
  readonly failed: number;
  /** By how: refused, timeout, 421, greeting, tls, login, lost. */
  readonly troubles: Readonly<Record<string, number>>;
  /** Where its settings come from. */
  readonly origin: 'file' | 'live';
  readonly settings: {
    readonly messages: number;
    readonly recipients: number;
    readonly rate: number | null;
    readonly timeoutSeconds: number;
    readonly ehlo: string | null;
    readonly tls: string;
    readonly hasCa: boolean;
    readonly hasLogin: boolean;
  };
};

/** All routes, in the order of their slices. */
export function routeViews(routes: Routes): readonly RouteView[] {
  const all = routes.all();
  const [primaries, fallbacks] = (['primary', 'fallback'] as const).map((role) =>
    sharesOf(
      all.flatMap(({ candidate }) => (candidate.role === role ? [candidate] : [])),
      routes.by,
    ),
  );
  const shares = primaries?.size ? primaries : fallbacks;
  return all.map(({ live }) => ({
    ...viewOf(live),
    share: shares?.get(live.settings.name) ?? 0,
    origin: routes.origin(live.settings.name),
  }));
}

function viewOf({ settings, health, hand, room, counts, connections, problem }: LiveRoute) {
  const { name, url, role, weight, messages, recipients, rate, timeoutSeconds } = settings;
  const { ehlo, tls, ca, user } = settings;
  const { state, at, by, how } = health.row();
  const { open, idle } = connections();
  const place = url === '' ? null : new URL(url);
  return {
    name,
    to: place === null ? 'kept, sent nowhere' : `${place.protocol}//${place.host}`,
    role,
    weight,
    mode: state.mode,
    since: at,
    by,
    how,
    problem,
    inHand: hand.carrying(),
    waiting: hand.waiting(),
    room,
    connections: { open, idle, max: settings.connections },
    ...counts(),
    troubles: health.troubles(),
    settings: {
      ...{ messages, recipients, rate: rate ?? null, timeoutSeconds, ehlo: ehlo ?? null, tls },
      hasCa: ca !== undefined,
      hasLogin: user !== undefined,
    },
  };
}

/**
 * The gauges of `/metrics` about routes. Of each route there is one line a gauge and no more, whatever operators add and take
 * away: what is no longer there is no longer shown.
 */
import { Gauge, type Registry } from 'prom-client';

/** A route as it is now on the node that is scraped; what `route ls` shows has all of it. */
export type RouteFigures = {
  readonly name: string;
  readonly role: string;
  /** Its breaker's: closed, open, half-open, warming, draining. */
  readonly mode: string;
  readonly weight: number;
  /** The part of the mail that it gets now, 0 to 1. */
  readonly share: number;
  /** Chunks. */
  readonly inHand: number;
  readonly waiting: number;
  readonly connections: { readonly open: number; readonly idle: number; readonly max: number };
};

/** Registers them; what it gives shows these routes and no others. */
export function createRouteGauges(registry: Registry): (routes: readonly RouteFigures[]) => void {
  const gauge = (name: string, help: string, ...more: string[]): Gauge =>
    new Gauge({
      name: `troupe_route_${name}`,
      help,
      labelNames: ['route', ...more],
      registers: [registry],
    });
  const state = gauge('state', '1 for the state that the route is in', 'state', 'role');
  const weight = gauge('weight', 'The weight of the route among those of its role');
  const share = gauge('share', 'The part of the mail that it gets now where no rule binds');
  const inHand = gauge('in_hand', 'Chunks that it carries');
  const waiting = gauge('waiting', 'Chunks that wait for a place in its hand');
  const open = gauge('connections', 'Connections that are open');
  const busy = gauge('connections_in_use', 'Connections that mail is sent over now');
  const max = gauge('connections_max', 'Connections that it may have');
  const all = [state, weight, share, inHand, waiting, open, busy, max];
  return (routes) => {
    for (const one of all) one.reset();
    for (const route of routes) {
      const label = { route: route.name };
      state.set({ ...label, state: route.mode, role: route.role }, 1);
      weight.set(label, route.weight);
      share.set(label, route.share);
      inHand.set(label, route.inHand);
      waiting.set(label, route.waiting);
      open.set(label, route.connections.open);
      busy.set(label, route.connections.open - route.connections.idle);
      max.set(label, route.connections.max);
    }
  };
}

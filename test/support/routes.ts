/** Routes over MTAs of the test's choice, with the real breaker and a bucket in memory. */
import { CLOSED, observe, ROUTE_MODES, waitMsOf, warmthOf } from '../../actors/route.ts';
import type { RouteConfig, RoutingConfig } from '../../src/config.ts';
import { type Log, silentLog } from '../../src/log.ts';
import { CLASS_ORDER } from '../../src/mail/class-order.ts';
import { openRoutes, type Routes } from '../../src/smtp/routes.ts';
import type { Clock, Kv, Meter, Smtp } from '../../src/world.ts';
import { createFakeKv } from './fake/kv.ts';

export const BREAKER = { observe, waitMsOf, warmthOf, closed: CLOSED, modes: ROUTE_MODES };

/** Settings of a route as the configuration completes them. */
export function routeOf(name: string, change: Partial<RouteConfig> = {}): RouteConfig {
  return {
    ...{ name, url: `smtp://${name}.example`, weight: 1, role: 'primary', connections: 5 },
    ...{ messages: 1_000, recipients: 100, timeoutSeconds: 60, tls: 'off' },
    ...change,
  };
}

export type TestRoutes = {
  readonly file?: readonly RouteConfig[];
  readonly connections?: number;
  readonly routing?: RoutingConfig;
  readonly kv?: Kv;
  readonly node?: string;
  readonly log?: Log;
  readonly capture?: Smtp;
  readonly inHandMax?: number;
  readonly meter?: Meter;
};

/** All routes over one MTA, or each over its own. */
export function openTestRoutes(
  smtp: Smtp | ((settings: RouteConfig) => Smtp),
  clock: Clock,
  options: TestRoutes = {},
): Promise<Routes> {
  const { connections = 5 } = options;
  return openRoutes({
    file: options.file ?? [routeOf('mta', { connections })],
    routing: options.routing ?? { strategy: 'weighted', rules: [] },
    kv: options.kv ?? createFakeKv(),
    node: options.node ?? 'n1',
    breaker: BREAKER,
    clock,
    random: { fraction: () => 0 },
    log: options.log ?? silentLog,
    meter: options.meter ?? { count: () => undefined, observe: () => undefined },
    inHandMax: options.inHandMax ?? 8,
    order: CLASS_ORDER,
    senders: () => 1,
    smtpOf: typeof smtp === 'function' ? smtp : () => smtp,
    capture: options.capture ?? null,
  });
}

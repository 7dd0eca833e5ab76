/** The routes of a node that sends, wired to the site. Part of the wiring (`main.ts`). */
import { z } from 'zod';
import { CLOSED, observe, ROUTE_MODES, waitMsOf, warmthOf } from '../actors/route.ts';
import { systemClock, systemRandom } from './clock.ts';
import type { RouteConfig } from './config.ts';
import { readPassword } from './config-secret.ts';
import { MailError, OperatorError } from './errors.ts';
import { parseAddress } from './mail/address.ts';
import { serveOrders } from './nats/orders.ts';
import { ROUTE_ORDERS } from './nats/subjects.ts';
import type { Node } from './site.ts';
import { createCapture } from './smtp/capture.ts';
import { redirected } from './smtp/devmode.ts';
import { routeViews } from './smtp/route-view.ts';
import { openRoutes, type Routes } from './smtp/routes.ts';
import { createSmtp } from './smtp/send.ts';
import type { Smtp } from './world.ts';

const settings = z.record(z.string(), z.unknown());
const orderSchema = z.union([
  z.object({ do: z.literal('add'), settings }),
  z.object({ do: z.literal('set'), name: z.string(), change: settings }),
  z.object({ do: z.enum(['drain', 'resume', 'rm']), name: z.string() }),
]);

/** Opens the routes, and takes orders about them on `troupe.route`; closed with the node. */
export async function openRouteSet(node: Node): Promise<Routes> {
  const { config, site, log, meter, closers, parts, membership } = node;
  const { captured } = parts;
  for (const route of config.routes) passwordOf(route);
  const redirect = redirectOf(config.devmode);
  if (config.devmode !== undefined) {
    log.warn({ to: config.devmode }, 'devmode: all mail goes to one address');
  }
  const routes = await openRoutes({
    file: config.routes,
    routing: config.routing,
    kv: site.rows,
    node: config.node,
    breaker: { observe, waitMsOf, warmthOf, closed: CLOSED, modes: ROUTE_MODES },
    clock: systemClock,
    random: systemRandom,
    log,
    meter,
    inHandMax: config.outgoing.concurrency,
    order: config.outgoing,
    senders: () =>
      [...membership.live().values()].filter(({ roles }) => roles.includes('outgoing')).length,
    smtpOf: (route) => redirect(smtpOf(route, config.hostname)),
    capture: captured === null ? null : redirect(createCapture(captured.keep, systemClock)),
  });
  routes.ended.catch(node.fatal);
  closers.push(routes.stop);
  parts.routes = routes;
  const orders = serveOrders(site.nats, ROUTE_ORDERS, 'routes', async (body) => {
    const order = orderSchema.safeParse(body);
    if (!order.success) throw new MailError(501, '5.5.4', 'Not an order about routes');
    await routes.obey(order.data);
    return { node: config.node, routes: routeViews(routes) };
  });
  closers.push(orders.close);
  return routes;
}

function smtpOf(route: RouteConfig, hostname: string): Smtp {
  const { url, tls, ca, user, ehlo, messages, timeoutSeconds } = route;
  const commandMsMax = 1_000 * timeoutSeconds;
  return createSmtp({
    ...{ url, tls, ca, name: ehlo ?? hostname, transactionsMax: messages, commandMsMax },
    ...(user !== undefined && { login: { user, pass: passwordOf(route) } }),
  });
}

/** Throws OperatorError where this node cannot read it. */
function passwordOf({ name, password = '', passwordFile }: RouteConfig): string {
  if (passwordFile === undefined) return password;
  const read = readPassword(passwordFile);
  if ('text' in read) return read.text;
  const step = `Put the file there, readable by the user that runs Troupe, then start again or \`troupe route set ${name} passwordFile=${passwordFile}\`.`;
  throw new OperatorError(`route ${name}: ${read.problem}`, step);
}

/** Throws OperatorError where the address of `devmode` is none. */
function redirectOf(devmode: string | undefined): (smtp: Smtp) => Smtp {
  if (devmode === undefined) return (smtp) => smtp;
  const to = parseAddress(devmode);
  if (to === null) {
    throw new OperatorError(`\`devmode\`: “${devmode}” is not a mail address`, 'Correct it.');
  }
  return (smtp) => redirected(smtp, to);
}

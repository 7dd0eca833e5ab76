/**
 * HTTP: the unsubscribe pages that mail links to, the outbox, and what watches us (`/metrics`,
 * `/health`, `/ready`).
 *
 * Plain pages without scripts. Every connection, body, header and wait has a bound; a bug in a
 * handler is logged once and told as 500 without its words.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { html } from 'hono/html';
import { OperatorError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { addDeliver } from './deliver.ts';
import { addDelivery, type DeliveryNeeds } from './delivery.ts';
import { addOutbox, type OutboxNeeds } from './outbox.ts';
import { page, SAFE_HEADERS } from './page.ts';
import { problem, wantsHtml } from './problem.ts';
import { addUnsubscribe, type UnsubscribeNeeds } from './unsubscribe.ts';

const CONNECTIONS_MAX = 512;
const REQUESTS_A_CONNECTION_MAX = 1_000;
const HEADER_BYTES_MAX = 16 * 1024;
/** A client has this long for its header, and for the whole request. */
const HEADER_MS_MAX = 10_000;
const REQUEST_MS_MAX = 20_000;
const KEEP_ALIVE_MS = 5_000;
/** A connection on which nothing moves is closed. */
const IDLE_MS_MAX = 30_000;
/** Requests under way when we stop have this long. */
const STOP_MS_MAX = 3_000;

/** What `/health` shows; src/ops/health.ts makes it. */
type Health = {
  readonly status: 'ok' | 'degraded';
  readonly isReady: boolean;
  readonly node: string;
  readonly problems: readonly { readonly what: string; readonly nextStep: string }[];
};

export type WebNeeds = UnsubscribeNeeds &
  OutboxNeeds &
  DeliveryNeeds & {
    health(): Health;
    readonly metrics: { page(): Promise<string>; readonly contentType: string };
    readonly log: Log;
  };

type Listen = { readonly listen: string; readonly port: number };

export type Web = {
  /** The real one, where 0 was asked for. */
  readonly port: number;
  /** Takes no new requests, gives those under way a moment, closes. */
  stop(): Promise<void>;
};

/** Starts listening. Throws OperatorError where the port cannot be had. */
export async function startWeb(options: Listen, needs: WebNeeds): Promise<Web> {
  return serve(createApp(needs), options);
}

/** What the servers have yet to do, and what follows. */
const WAITING = {
  what: 'NATS has no leader yet: mail waits at its MTA',
  nextStep: 'See that most nats-servers run; the node goes on by itself when they have one.',
};

/** Listens until the node can start: alive, not ready, and why. Throws OperatorError as `startWeb`. */
export async function openWaitingPage(options: Listen): Promise<Web> {
  const app = new Hono();
  app.get('/health', (c) => c.json({ status: 'degraded', isReady: false, problems: [WAITING] }));
  app.get('/ready', (c) => c.json({ ready: false, problems: [WAITING] }, 503));
  app.notFound((c) => problem(c, 503, 'Not ready yet; try again in a moment.'));
  return serve(app, options);
}

async function serve(app: Hono, options: Listen): Promise<Web> {
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADER_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
  }) as Server;
  server.maxConnections = CONNECTIONS_MAX;
  server.maxRequestsPerSocket = REQUESTS_A_CONNECTION_MAX;
  server.setTimeout(IDLE_MS_MAX, (socket) => socket.destroy());
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  return { port, stop: () => stop(server) };
}

async function listen(server: Server, { listen: host, port }: Listen): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new OperatorError(
          `cannot listen for HTTP on ${host}:${port}: ${textOf(error)}`,
          'Stop what has the port, or set `http.port` to another (0 lets the system pick).',
          error,
        ),
      ),
    );
    server.listen(port, host, resolve);
  });
}

async function stop(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const deadline = setTimeout(() => server.closeAllConnections(), STOP_MS_MAX);
  await closed;
  clearTimeout(deadline);
}

/** All routes. */
export function createApp(needs: WebNeeds): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(SAFE_HEADERS)) c.res.headers.set(name, value);
  });
  app.onError((error, c) => {
    if (hasLeft(error)) return problem(c, 400, 'The request broke off.');
    needs.log.error({ err: error, route: c.req.routePath }, 'web: a request threw');
    return problem(c, 500, 'Something went wrong here. It has been noted.');
  });
  app.notFound((c) => problem(c, 404, 'There is no such page.'));
  addUnsubscribe(app, needs);
  addDeliver(app, needs);
  addOutbox(app, needs);
  addDelivery(app, needs);
  addStatus(app, needs);
  return app;
}

/** A client that hangs up while it sends is its own business. */
function hasLeft(error: Error): boolean {
  return 'code' in error && error.code === 'ECONNRESET';
}

function addStatus(app: Hono, { health, metrics, outbox }: WebNeeds): void {
  app.get('/health', (c) => c.json(health()));
  app.get('/ready', (c) => {
    const { isReady, problems } = health();
    return c.json({ ready: isReady, problems }, isReady ? 200 : 503);
  });
  app.get('/metrics', async (c) =>
    c.body(await metrics.page(), 200, { 'Content-Type': metrics.contentType }),
  );
  app.get('/', (c) => {
    const report = health();
    if (!wantsHtml(c)) return c.json({ status: report.status, ready: report.isReady });
    return c.html(page(`Troupe on ${report.node}`, status(report, outbox !== null)));
  });
}

function status({ isReady, problems }: Health, hasOutbox: boolean) {
  const named = problems.map(({ what, nextStep }) => html`<li>${what}. ${nextStep}</li>`);
  const outbox = html`<a href="/outbox">Outbox</a>: mail that was captured instead of sent`;
  return html`<p>${isReady ? 'Running; mail is taken.' : 'Not ready; mail is asked to wait.'}</p>
${named.length === 0 ? '' : html`<ul>${named}</ul>`}
<ul>
${hasOutbox ? html`<li>${outbox}</li>` : ''}
<li><a href="/health">Health</a>, <a href="/ready">ready</a>, <a href="/metrics">metrics</a></li>
</ul>`;
}

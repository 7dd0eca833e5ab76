/** Routes with the real breaker over MTAs in memory, and chunks to send over them. */
import { WARMING_QUIET_MS, WARMTHS } from '../../actors/route.ts';
import type { Chunk } from '../../src/mail/chunk.ts';
import type { Routes } from '../../src/smtp/routes.ts';
import type { Kv, Lent } from '../../src/world.ts';
import { transactionTo } from '../contract/smtp.ts';
import { aChunk } from './chunk.ts';
import { createFakeClock, type FakeClock } from './fake/clock.ts';
import { createFakeKv } from './fake/kv.ts';
import { createFakeSmtp, type FakeSmtp } from './fake/smtp.ts';
import { openTestRoutes, routeOf, type TestRoutes } from './routes.ts';

const opened: Routes[] = [];
/** For `afterEach`. */
export function stopRoutes(): void {
  for (const routes of opened.splice(0)) routes.stop();
}

/** Until a route that works again has its share also where no mail comes to show it. */
export const WARM_MS = (WARMTHS.length + 1) * WARMING_QUIET_MS;
const WEIGHTS = { a: 5, b: 3, c: 2 };
export const FILE = Object.entries(WEIGHTS).map(([name, weight]) => routeOf(name, { weight }));

export type It = {
  readonly routes: Routes;
  readonly clock: FakeClock;
  readonly kv: Kv;
  mta(name: string): FakeSmtp;
  /** Sends one mail for the n-th chunk over the route chosen; its name, or null where there is none. */
  send(n: number, tried?: readonly string[]): Promise<string | null>;
  modes(): Record<string, string>;
};

export async function start(options: TestRoutes & { clock?: FakeClock } = {}): Promise<It> {
  const clock = options.clock ?? createFakeClock();
  const kv = options.kv ?? createFakeKv();
  const mtas = new Map<string, FakeSmtp>();
  const mta = (name: string): FakeSmtp => {
    const made = mtas.get(name) ?? createFakeSmtp();
    mtas.set(name, made);
    return made;
  };
  const routes = await openTestRoutes(({ name }) => mta(name), clock, {
    file: FILE,
    ...options,
    kv,
  });
  opened.push(routes);
  const modes = () =>
    Object.fromEntries(
      routes.all().map(({ live }) => [live.settings.name, live.health.row().state.mode]),
    );
  const send = async (n: number, tried: readonly string[] = []) => {
    const lent = await routes.lend(chunk(n), tried);
    if (lent === null) return null;
    await mailOver(lent).catch(() => undefined);
    lent.giveBack();
    return lent.route.name;
  };
  return { routes, clock, kv, mta, send, modes };
}

export const chunk = (n: number, change: Partial<Chunk> = {}): Chunk =>
  aChunk({ post: String(n), ...change });

export const mailOver = ({ route }: Lent) =>
  route.withConnection('post', (connection) => connection.send(transactionTo('x@y.example')));

export async function shares(it: It, chunks: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let n = 0; n < chunks; n += 1) {
    const name = (await it.send(n)) ?? 'none';
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

// ── Hands full ────────────────────────────────────────────────────────────

/** Chunks that the route carries by its slice. */
async function* chunksOf(it: It, name: string): AsyncGenerator<number> {
  for (let n = 0; ; n += 1) {
    const lent = await it.routes.lend(chunk(n), []);
    lent?.giveBack();
    if (lent?.route.name === name) yield n;
  }
}

/** Takes so many places of the route's hand. */
export async function held(it: It, name: string, count: number): Promise<Lent[]> {
  const numbers: number[] = [];
  for await (const n of chunksOf(it, name)) {
    numbers.push(n);
    if (numbers.length === count) break;
  }
  const lents = await Promise.all(numbers.map((n) => it.routes.lend(chunk(n), [])));
  return lents.filter((lent) => lent !== null);
}

/** More chunks of the route's slice than its hand has places for: fills the hand, and gives those who wait. */
export async function waitersFor(
  it: It,
  name: string,
  count: number,
): Promise<Promise<Lent | null>[]> {
  const found = it.routes.all().find(({ live }) => live.settings.name === name);
  const waitingNow = (): number => found?.live.hand.waiting() ?? 0;
  const waiting: Promise<Lent | null>[] = [];
  for (let n = 1_000; waiting.length < count; n += 1) {
    const before = waitingNow();
    const asked = it.routes.lend(chunk(n), []);
    await it.clock.advance(0);
    if (waitingNow() > before) waiting.push(asked);
    else if ((await asked)?.route.name !== name) (await asked)?.giveBack();
  }
  return waiting;
}

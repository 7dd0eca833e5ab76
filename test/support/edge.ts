/**
 * An edge on loopback with everything behind it in hand: what it accepted, counted and logged, and
 * a clock to turn.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom } from '../../src/clock.ts';
import { MailError } from '../../src/errors.ts';
import type { Log } from '../../src/log.ts';
import { type Address, domainOf, localPartOf } from '../../src/mail/address.ts';
import { createBans } from '../../src/mail/bans.ts';
import type { Envelope, MailKind } from '../../src/mail/envelope.ts';
import { type Edge, type EdgeOptions, startEdge } from '../../src/smtp/edge.ts';
import { EDGE_LIMITS, type EdgeLimits } from '../../src/smtp/edge-limits.ts';
import type { EdgeNeeds, RcptAnswer } from '../../src/smtp/edge-transaction.ts';
import { createFakeClock, type FakeClock } from './fake/clock.ts';

type Accepted = {
  readonly raw: Buffer;
  /** The lengths of its pieces. */
  readonly pieces: readonly number[];
  readonly envelopes: readonly { kind: MailKind; envelope: Envelope }[];
};

export type TestEdge = {
  readonly edge: Edge;
  readonly smtp: number;
  readonly lmtp: number;
  readonly clock: FakeClock;
  readonly accepted: Accepted[];
  /** Lines of level info and above: their text and fields. */
  readonly lines: { readonly text: string; readonly fields: Readonly<Record<string, unknown>> }[];
  /** A counter's sum over its labels. */
  counted(name: string): number;
  /** Called before a mail counts as accepted; may throw. */
  beforeAccept: () => Promise<void>;
  isReady: boolean;
  close(): Promise<void>;
};

export type EdgeSetup = {
  readonly limits?: Partial<EdgeLimits>;
  readonly options?: Partial<EdgeOptions>;
  readonly resolve?: EdgeNeeds['resolve'];
  readonly bans?: readonly string[];
  readonly closed?: string;
};

/**
 * Lists of the default resolver: `dev` and `ops` take 1 MiB, `tiny` 1 KiB; `dev-owner` and `b+x`
 * are other kinds.
 */
export function resolveSample(address: Address): RcptAnswer {
  const local = localPartOf(address);
  if (domainOf(address) !== 'lists.localhost') {
    return { refuse: new MailError(550, '5.7.1', 'We do not relay mail') };
  }
  if (/^(?:dev|ops|list-?\d+|größe)$/.test(local)) {
    return { kind: 'post', maxMessageBytes: 1024 * 1024 };
  }
  if (local === 'tiny') return { kind: 'post', maxMessageBytes: 1024 };
  if (local === 'dev-owner') return { kind: 'owner', maxMessageBytes: 1024 * 1024 };
  if (local === 'b+good') return { kind: 'bounce', maxMessageBytes: 1024 * 1024 };
  const refuse = new MailError(550, '5.1.1', 'No such list here');
  return local.startsWith('b+') ? { refuse, isWrongMac: true } : { refuse };
}

/** 127.0.0.1 is a listed MTA; every other loopback address is a stranger. */
export async function openEdge(setup: EdgeSetup = {}): Promise<TestEdge> {
  const clock = createFakeClock();
  const accepted: Accepted[] = [];
  const counts = new Map<string, number>();
  const spoolDir = await mkdtemp(join(tmpdir(), 'troupe-edge-'));
  const lines: TestEdge['lines'] = [];
  const test: { beforeAccept: () => Promise<void>; isReady: boolean } = {
    beforeAccept: async () => undefined,
    isReady: true,
  };
  const needs: EdgeNeeds = {
    resolve: setup.resolve ?? resolveSample,
    async accept(raw, envelopes) {
      const pieces: Uint8Array[] = [];
      for await (const piece of raw.pieces()) pieces.push(Buffer.from(piece));
      await test.beforeAccept();
      accepted.push({
        raw: Buffer.concat(pieces),
        pieces: pieces.map(({ length }) => length),
        envelopes,
      });
    },
    isReady: () => test.isReady,
    isBanned: createBans(setup.bans ?? []),
    closed: setup.closed ?? null,
    clock,
    random: systemRandom,
    meter: {
      count: (name, _labels, by = 1) => counts.set(name, (counts.get(name) ?? 0) + by),
      observe: () => undefined,
    },
    log: logInto(lines),
  };
  const edge = await startEdge(
    {
      listen: '127.0.0.1',
      smtpPort: 0,
      lmtp: { port: 0 },
      name: 'edge.test',
      spoolDir,
      trusted: ['127.0.0.1'],
      proxies: [],
      xclient: [],
      tls: null,
      ...setup.options,
      limits: { ...EDGE_LIMITS, sizeMax: 2 * 1024 * 1024, ...setup.limits },
    },
    needs,
  ).catch(async (error: unknown) => {
    await rm(spoolDir, { recursive: true });
    throw error;
  });
  return Object.assign(test, {
    edge,
    smtp: edge.smtpPort,
    lmtp: edge.lmtpPort ?? 0,
    clock,
    accepted,
    lines,
    counted: (name: string) => counts.get(name) ?? 0,
    async close() {
      const stopped = edge.stop();
      await clock.advance(EDGE_LIMITS.stopMs + 1);
      await stopped;
      await rm(spoolDir, { recursive: true, force: true });
    },
  });
}

/** Lets no mail count as accepted from now on: `begun` resolves when one could, `end` lets it. */
export function holdAccept(edge: TestEdge): { readonly begun: Promise<void>; end(): void } {
  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  edge.beforeAccept = () => {
    begun.resolve();
    return ended.promise;
  };
  return { begun: begun.promise, end: ended.resolve };
}

function logInto(lines: TestEdge['lines']): Log {
  const write = (fields: Readonly<Record<string, unknown>>, text: string): void => {
    lines.push({ text, fields });
  };
  const log: Log = {
    debug: () => undefined,
    info: write,
    warn: write,
    error: write,
    fatal: write,
    child: () => log,
  };
  return log;
}

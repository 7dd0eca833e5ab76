/**
 * `/metrics` for Prometheus: every name stated once, here, with what it means.
 *
 * Code counts through the `Meter` seam by short names (`edge_accepted`), which come out as
 * `troupe_edge_accepted_total`; durations are observed in ms under names in `_ms` and come out as
 * histograms in seconds. What is only known by asking (queue depths, ages) is gathered when
 * somebody scrapes, and at most once a second.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { BugError } from '../assert.ts';
import { systemClock } from '../clock.ts';
import { within } from '../ending.ts';
import type { QueueState, StreamState } from '../nats/depths.ts';
import type { Clock, Meter } from '../world.ts';
import { COUNTERS, DURATIONS } from './metric-names.ts';
import { createRouteGauges, type RouteFigures } from './route-metrics.ts';

/** Label sets of one metric; past that further ones are counted together as `other`. */
export const LABEL_SETS_MAX = 200;
/** Scrapes in quick succession share what was gathered. */
const GATHER_EVERY_MS = 1_000;
/** A scrape does not wait longer than this for what must be asked over NATS. */
const GATHER_MS_MAX = 3_000;
/** The event loop is sampled this coarsely, ms: finer costs CPU at rest. */
const LOOP_PRECISION_MS = 100;
/** From a store's acknowledgement to a slow MTA, seconds. */
const BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What is gathered when somebody scrapes; a field that a node has not is left out. */
export type Gathered = {
  readonly queues?: readonly QueueState[];
  /** Parked messages by who parked them. */
  readonly parked?: ReadonlyMap<string, number>;
  readonly streams?: readonly StreamState[];
  readonly host?: {
    readonly awake: number;
    readonly inHand: number;
    readonly blocked: number;
    readonly quarantined: number;
    readonly slots: number;
    readonly diskFreeBytes: number;
  };
  readonly routes?: readonly RouteFigures[];
  readonly lists?: number;
  readonly edgeInFlight?: number;
  readonly isConnected?: boolean;
};

export type Metrics = {
  readonly meter: Meter;
  /** The page, in the text format; what could not be gathered is missing from it. Never throws. */
  page(): Promise<string>;
  readonly contentType: string;
};

/**
 * `isStrict`: a name or label that is not in the table throws a BugError; for tests. Else it is
 * counted as unknown.
 */
export function createMetrics(options: {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly gather: () => Promise<Gathered>;
  readonly isStrict?: boolean;
}): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({
    register: registry,
    prefix: 'troupe_',
    eventLoopMonitoringPrecision: LOOP_PRECISION_MS,
  });
  const gauges = createGauges(registry);
  const show = (gathered: Gathered): void => setGauges(gauges, gathered, options.clock.now());
  let gatheredAt = Number.NEGATIVE_INFINITY;
  let gathering: Promise<void> | null = null;

  function gather(): Promise<void> {
    if (options.clock.monotonic() - gatheredAt < GATHER_EVERY_MS) return Promise.resolve();
    gathering ??= options
      .gather()
      .then(show)
      .catch(() => show({ isConnected: false }))
      .finally(() => {
        gatheredAt = options.clock.monotonic();
        gathering = null;
      });
    return gathering;
  }

  return {
    meter: createMeter(registry, options.isStrict === true),
    contentType: registry.contentType,
    page: async () => {
      await within(systemClock, GATHER_MS_MAX, gather());
      return await registry.metrics();
    },
  };
}

// ── Counting ──────────────────────────────────────────────────────────────

type Add = (by: number) => void;
type Metric = { readonly labels: readonly string[]; child(labels: Record<string, string>): Add };

/**
 * The seam over prom-client. A label set is looked up once and kept: counting is a map look-up and
 * an addition.
 */
function createMeter(registry: Registry, isStrict: boolean): Meter {
  const registers = [registry];
  const unknown = new Counter({
    name: 'troupe_metrics_unknown_total',
    help: 'Counted under a name or label that is in no table: a bug',
    registers,
  });
  const counters = mapOf(COUNTERS, (name, { help, labels }): Metric => {
    const labelNames = [...labels];
    const counter = new Counter({ name: `troupe_${name}_total`, help, labelNames, registers });
    return { labels, child: (values) => (by) => counter.labels(values).inc(by) };
  });
  const durations = mapOf(DURATIONS, (name, { help, labels }): Metric => {
    const inSeconds = `troupe_${name.replace(/_ms$/, '')}_seconds`;
    const histogram = new Histogram({
      name: inSeconds,
      help,
      labelNames: [...labels],
      buckets: BUCKETS_S,
      registers,
    });
    return { labels, child: (values) => (ms) => histogram.labels(values).observe(ms / 1_000) };
  });
  const children = new Map<Metric, Map<string, Add>>();

  function add(
    metrics: ReadonlyMap<string, Metric>,
    name: string,
    labels: Readonly<Record<string, string>>,
    value: number,
  ): void {
    const metric = metrics.get(name);
    const problem = problemOf(name, metric, labels, value);
    if (problem !== null && isStrict) throw new BugError(problem);
    if (metric === undefined || problem !== null) {
      unknown.inc();
      return;
    }
    const known = children.get(metric) ?? new Map<string, Add>();
    children.set(metric, known);
    childOf(metric, known, labels)(value);
  }

  return {
    count: (name, labels = {}, by = 1) => add(counters, name, labels, by),
    observe: (name, ms, labels = {}) => add(durations, name, labels, ms),
  };
}

function childOf(
  metric: Metric,
  known: Map<string, Add>,
  labels: Readonly<Record<string, string>>,
): Add {
  const values = metric.labels.map((label) => labels[label] ?? '');
  const key = values.join('\0');
  const found = known.get(key);
  if (found !== undefined) return found;
  // Whoever chooses a label's value must not be able to fill our memory with it.
  if (known.size >= LABEL_SETS_MAX && key !== other(metric)) {
    return childOf(metric, known, Object.fromEntries(metric.labels.map((l) => [l, 'other'])));
  }
  const made = metric.child(Object.fromEntries(metric.labels.map((l, i) => [l, values[i] ?? ''])));
  known.set(key, made);
  return made;
}

const other = ({ labels }: Metric): string => labels.map(() => 'other').join('\0');

function problemOf(
  name: string,
  metric: Metric | undefined,
  labels: Readonly<Record<string, string>>,
  value: number,
): string | null {
  if (metric === undefined) return `no metric is called ${name}: state it in metric-names.ts`;
  const stray = Object.keys(labels).find((label) => !metric.labels.includes(label));
  if (stray !== undefined) return `the metric ${name} has no label ${stray}`;
  return Number.isFinite(value) && value >= 0 ? null : `the metric ${name} cannot take ${value}`;
}

function mapOf<S, T>(
  table: Readonly<Record<string, S>>,
  make: (name: string, entry: S) => T,
): ReadonlyMap<string, T> {
  return new Map(Object.entries(table).map(([name, entry]) => [name, make(name, entry)]));
}

// ── Gauges ────────────────────────────────────────────────────────────────

type Gauges = ReturnType<typeof createGauges>;

function createGauges(registry: Registry) {
  const gauge = (name: string, help: string, ...labelNames: string[]): Gauge =>
    new Gauge({ name: `troupe_${name}`, help, labelNames, registers: [registry] });
  return {
    waiting: gauge('queue_waiting', 'Messages that wait in a queue', 'queue'),
    inHand: gauge('queue_in_hand', 'Messages taken and not yet acknowledged', 'queue'),
    age: gauge('queue_oldest_seconds', 'Age of the oldest unfinished message', 'queue'),
    parked: gauge('parked', 'Messages set aside until someone looks', 'where'),
    bytes: gauge('stream_bytes', 'What a stream holds', 'stream'),
    bytesMax: gauge('stream_bytes_max', 'What a stream may hold', 'stream'),
    awake: gauge('lists_awake', 'Lists in memory'),
    commands: gauge('commands_in_hand', 'Commands waiting for their turn'),
    blocked: gauge('lists_blocked', 'Lists whose effects are so far behind that they take no turn'),
    quarantined: gauge('lists_quarantined', 'Lists whose history does not hold together'),
    slots: gauge('slots_owned', 'Slots that this node owns'),
    free: gauge('disk_free_bytes', 'Room under the data directory'),
    lists: gauge('lists', 'Lists in the directory'),
    receiving: gauge('edge_in_flight', 'Mails being received'),
    connected: gauge('nats_connected', '1 while NATS answers'),
    showRoutes: createRouteGauges(registry),
  };
}

function setGauges(gauges: Gauges, gathered: Gathered, now: number): void {
  const { waiting, inHand, age, parked, bytes, bytesMax } = gauges;
  for (const gauge of [waiting, inHand, age, parked, bytes, bytesMax]) gauge.reset();
  for (const queue of gathered.queues ?? []) {
    const label = { queue: queue.name };
    waiting.set(label, queue.waiting);
    inHand.set(label, queue.inHand);
    age.set(label, queue.oldestAt === null ? 0 : ageOf(now, queue.oldestAt));
  }
  for (const [where, count] of gathered.parked ?? []) parked.set({ where }, count);
  for (const stream of gathered.streams ?? []) {
    bytes.set({ stream: stream.name }, stream.bytes);
    bytesMax.set({ stream: stream.name }, stream.bytesMax);
  }
  if (gathered.routes !== undefined) gauges.showRoutes(gathered.routes);
  const { host } = gathered;
  if (host !== undefined) {
    gauges.awake.set(host.awake);
    gauges.commands.set(host.inHand);
    gauges.blocked.set(host.blocked);
    gauges.quarantined.set(host.quarantined);
    gauges.slots.set(host.slots);
    gauges.free.set(host.diskFreeBytes);
  }
  if (gathered.lists !== undefined) gauges.lists.set(gathered.lists);
  if (gathered.edgeInFlight !== undefined) gauges.receiving.set(gathered.edgeInFlight);
  if (gathered.isConnected !== undefined) gauges.connected.set(gathered.isConnected ? 1 : 0);
}

/** Seconds; a clock that was set back gives no negative age. */
const ageOf = (now: number, then: number): number => Math.max(0, now - then) / 1_000;

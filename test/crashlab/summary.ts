/** The figures of a run, and the same in words. */
import { type Duplicate, settle } from '../support/accountant.ts';
import { settleBounces } from '../support/bounce-accountant.ts';
import type { SinkLine } from '../support/sink-process.ts';
import { explain } from './explain.ts';
import type { FaultKind } from './faults.ts';
import type { Outcome } from './lab.ts';

const SHOWN_MAX = 20;

export type Figures = {
  readonly kills: number;
  readonly pauses: number;
  readonly partitions: number;
  readonly powerCuts: number;
  readonly accepted: number;
  readonly deliveries: number;
  readonly lost: number;
  readonly wrong: number;
  readonly duplicates: number;
  readonly unexplained: number;
  /** Copies that came back and whose DSN was answered 250. */
  readonly bounces: number;
  readonly bounceLost: number;
  readonly bounceDouble: number;
  /** From the kill of an owner to the first later post at the MTA; null if none was killed. */
  readonly failoverP50S: number | null;
  readonly failoverP99S: number | null;
};

export function summaryOf(outcome: Outcome): { readonly figures: Figures; readonly words: string } {
  const { books, bounceBooks, faults, failOvers, falls, parked, loaded, restless, wellAt } =
    outcome;
  const kills = faults.map(({ at, what }) => ({ at, what }));
  const account = settle({ ...books, kills });
  const { lost, wrong, broken, duplicates } = account;
  const { unexplained, causes } = explain(duplicates, faults, wellAt);
  const bounces = settleBounces(bounceBooks);
  const shared = bounceBooks.bounces.map(sharedIn).reduce((sum, one) => sum + one, 0);
  const count = (...kinds: FaultKind[]): number =>
    faults.filter(({ kind }) => kinds.includes(kind)).length;
  const seconds = failOvers.map(({ ms }) => ms / 1_000).sort((a, b) => a - b);
  const taken = books.sink.filter(({ answer = 0 }) => answer < 400);
  const figures = {
    kills: count('kill', 'owner-kill'),
    pauses: count('pause'),
    partitions: count('partition'),
    powerCuts: count('power-cut', 'blackout'),
    accepted: account.accepted,
    deliveries: taken.reduce((sum, { recipients }) => sum + recipients.length, 0),
    lost: lost.length,
    wrong: wrong.length + broken.length + bounces.wrong.length,
    duplicates: duplicates.length,
    unexplained: unexplained.length,
    bounces: bounces.bounced,
    bounceLost: bounces.lost.length,
    bounceDouble: bounces.double.length,
    failoverP50S: percentile(seconds, 0.5),
    failoverP99S: percentile(seconds, 0.99),
  };
  const others = ['disk-full', 'clock', 'bucket', 'rolling'] as const;
  const words = [
    ...told('did not come to rest', restless === null ? [] : [restless]),
    ...told('lost', lost),
    ...told('wrong', [...wrong, ...broken, ...bounces.wrong]),
    ...told('bounces lost', bounces.lost),
    ...told('bounces counted twice', bounces.double),
    ...told('unexplained', unexplained.map(inWords)),
    ...told('parked', parked),
    ...told(
      'fell by itself',
      falls.map(({ name, at }) => `${name} at ${at}`),
    ),
    `${account.acked} acked, ${loaded.refused} refused, ${loaded.resent} sent again`,
    `${account.held} held; ${others.map((kind) => `${count(kind)} ${kind}`).join(', ')}`,
    `the sink: ${moodsIn(books.sink)}`,
    `${bounces.bounced} came back, ${bounces.forged} DSNs were forged, ${shared} shared a mail`,
    `duplicates: ${[...causes].map(([cause, many]) => `${many} ${cause}`).join(', ') || 'none'}`,
    `fail-over: ${seconds.map((s) => s.toFixed(1)).join(' ') || 'none'} s`,
  ].join('\n');
  return { figures, words };
}

/** Events of DSNs that were stored as one mail: their ids say which of it they were. */
const sharedIn = ({ data }: Outcome['bounceBooks']['bounces'][number]): number =>
  Buffer.from(data)
    .toString()
    .match(/"id":"d\d+-/g)?.length ?? 0;

/** How often it said what, where that was not 250. */
function moodsIn(lines: readonly SinkLine[]): string {
  const said = Map.groupBy(lines, ({ answer = 250 }) => answer);
  const words = [...said].map(([code, of]) => `${of.length} ${code === 0 ? 'dropped' : code}`);
  return words.sort().join(', ');
}

function told(what: string, all: readonly string[]): readonly string[] {
  if (all.length === 0) return [];
  return [`${all.length} ${what}:`, ...all.slice(0, SHOWN_MAX).map((one) => `  ${one}`)];
}

function inWords({ marker, recipient, firstAt, againAt, ...more }: Duplicate): string {
  const { firstBy = '', againBy = '', chunk = 0 } = more;
  const gap = againAt - firstAt;
  return `${marker}.${chunk} ${recipient}: ${firstBy} at ${firstAt}, ${againBy} ${gap} ms later`;
}

/** Of sorted numbers; null of none. */
function percentile(sorted: readonly number[], share: number): number | null {
  const found = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return found === undefined ? null : Math.round(found * 100) / 100;
}

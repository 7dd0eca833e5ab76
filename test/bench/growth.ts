/**
 * What a list's size costs: a decision, a subscription, a wake and a bounce of a list of a million members over those of a list
 * of a thousand. Each list has a site of its own, and there another beside it that is as large as the list it is compared with: so
 * the stores of both sites are alike, and what differs is the list that is asked. They are asked in turn, so that what else the
 * machine does falls on both.
 *
 *   cold    the first requests after a restart of the node; a wake is the list's very first
 *   warm    the same when all has been asked for before; a wake is of a list that has left memory for want of work
 */
import { randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Address } from '../../src/mail/address.ts';
import { aside, type Bench, figure } from './bench.ts';
import { median } from './figures.ts';
import { bounceRatio } from './growth-bounce.ts';
import type { Scene } from './scene.ts';
import {
  adding,
  addressOf,
  type BenchList,
  type BenchSite,
  makeList,
  memberOf,
  openSite,
  tell,
} from './site.ts';

/** Restarts of a run, of which there are three, and requests of each kind after one. */
const RESTARTS = 9;
const COLD_REQUESTS = 20;
const WARM_REQUESTS = 400;
const WARM_WAKES = 30;
/** A list passes out of memory after this, sooner than by default, and is looked at four times in it (src/host/world.ts). */
const PASSIVE_MS = 500;
const ASLEEP_MS = 1.5 * PASSIVE_MS;
/** Asked of another list before a wake, so that it is the list that is woken, and not the process. */
const ROUSING_REQUESTS = 10;

/** `asked`: the members that are asked for, drawn from all of them; the i-th request asks for the i-th. */
type Sized = {
  readonly list: BenchList;
  readonly members: number;
  readonly asked: readonly Address[];
};
type Subject = BenchSite & Sized & { readonly other: Sized };
/** Milliseconds of each request. */
type Times = { readonly decide: number[]; readonly subscribe: number[]; readonly wake: number[] };
type Kind = keyof Times;
const KINDS: readonly Kind[] = ['decide', 'subscribe', 'wake'];

export const growth: Bench = {
  name: 'growth',
  what: 'cost at many members over cost at few: the larger of cold and warm',
  peer: '',
  flags: {
    large: { what: 'members of the large list', default: 1_000_000 },
    small: { what: 'members of the small list', default: 1_000 },
  },
  says: [],
  columns: [
    ...KINDS.map((kind) => figure(kind, 2, { atMost: 1.2 })),
    figure('bounce', 2, { atMost: 1.2 }),
    ...KINDS.flatMap((kind) => [aside(`${kind}Cold`, 2), aside(`${kind}Warm`, 2)]),
    ...KINDS.map((kind) => aside(`${kind}Ms`, 2)),
  ],
  tools: [],
  async open(flags, scene) {
    const sizes = [flags.number('small'), flags.number('large')] as const;
    scene.say(`two sites, each with a list of ${sizes[0]} members and one of ${sizes[1]}`);
    const startedAt = performance.now();
    const small = await makeSubject(scene, sizes[0], sizes[1]);
    const large = await makeSubject(scene, sizes[1], sizes[0]);
    scene.say(`made in ${Math.round(performance.now() - startedAt)} ms`);
    return async (run) => {
      const cold = await measureCold(small, large, run);
      scene.say(`cold measured; warm wakes take ${WARM_WAKES * ASLEEP_MS} ms`);
      const warm = await measureWarm(small, large, run);
      const ratios = KINDS.flatMap((kind) => [
        [`${kind}Cold`, ratio(cold, kind)],
        [`${kind}Warm`, ratio(warm, kind)],
        [kind, Math.max(ratio(cold, kind), ratio(warm, kind))],
        [`${kind}Ms`, median(warm[1][kind])],
      ]);
      return { ...Object.fromEntries(ratios), bounce: await bounceRatio(small, large, run) };
    };
  },
};

type Both = readonly [small: Times, large: Times];
const noTimes = (): Times => ({ decide: [], subscribe: [], wake: [] });
/** Of each pair asked in turn, and then their median: what slows the machine for a while slows both of a pair. */
const ratio = ([small, large]: Both, kind: Kind): number =>
  median(large[kind].map((ms, i) => ms / (small[kind][i] ?? Number.NaN)));

async function makeSubject(scene: Scene, members: number, beside: number): Promise<Subject> {
  const site = await openSite(scene, null, { TROUPE_LISTS_PASSIVE_MS: String(PASSIVE_MS) });
  const other = await makeSized(site, 'other', beside);
  return { ...site, ...(await makeSized(site, 'growing', members)), other };
}

async function makeSized(site: BenchSite, name: string, members: number): Promise<Sized> {
  const asked = Array.from({ length: WARM_REQUESTS }, () => memberOf(randomInt(1, members + 1)));
  return { list: await makeList(site, name, {}, members), members, asked };
}

async function measureCold(small: Subject, large: Subject, run: number): Promise<Both> {
  const both: Both = [noTimes(), noTimes()];
  for (let i = 0; i < RESTARTS; i++) {
    await Promise.all([small.restart(), large.restart()]);
    await wake(small, large, both, `${run}.${i}`, i);
    await inTurn(small, large, both, 'decide', COLD_REQUESTS, `${run}.${i}`);
    await inTurn(small, large, both, 'subscribe', COLD_REQUESTS, `${run}.${i}`);
  }
  return both;
}

async function measureWarm(small: Subject, large: Subject, run: number): Promise<Both> {
  const both: Both = [noTimes(), noTimes()];
  for (const kind of ['decide', 'subscribe'] as const) {
    await inTurn(small, large, [noTimes(), noTimes()], kind, WARM_REQUESTS, `${run}.before`);
    await inTurn(small, large, both, kind, WARM_REQUESTS, `${run}.warm`);
  }
  for (let i = 0; i < WARM_WAKES; i++) {
    await pause(ASLEEP_MS);
    await wake(small, large, both, `${run}.wake${i}`, i);
  }
  return both;
}

/** Whoever is woken first changes with each `turn`. */
async function wake(
  small: Subject,
  large: Subject,
  both: Both,
  name: string,
  turn: number,
): Promise<void> {
  const others = [small, large].map((site) => ({ ...site, ...site.other }));
  const [otherSmall = small, otherLarge = large] = others;
  const nowhere: Both = [noTimes(), noTimes()];
  await inTurn(otherSmall, otherLarge, nowhere, 'decide', ROUSING_REQUESTS, `${name}.rouse`);
  await inTurn(small, large, both, 'wake', 1, name, turn);
}

/** One request to each list, again and again; whoever comes first changes with every pair. */
async function inTurn(
  small: Subject,
  large: Subject,
  [ofSmall, ofLarge]: Both,
  kind: Kind,
  requests: number,
  name: string,
  turn = 0,
): Promise<void> {
  for (let i = 0; i < requests; i++) {
    const pair = [
      async () => ofSmall[kind].push(await timed(small, kind, i, `${name}.${i}`)),
      async () => ofLarge[kind].push(await timed(large, kind, i, `${name}.${i}`)),
    ];
    if ((i + turn) % 2 === 1) pair.reverse();
    for (const ask of pair) await ask();
  }
}

/**
 * A decision is that of a command which changes nothing: to add who is a member already takes a look into the roster and no
 * record. A wake is the first of them.
 */
async function timed(
  { asker, list, asked }: Subject,
  kind: Kind,
  i: number,
  name: string,
): Promise<number> {
  const known = asked[i % asked.length];
  const who = kind === 'subscribe' ? addressOf(`${kind}.${name}@members.example`) : known;
  if (who === undefined) throw new Error('nobody to ask for');
  const command = adding([who]);
  const toAsk = asker();
  const startedAt = performance.now();
  const answer = await tell(toAsk, list.key, `${kind}.${name}`, command);
  const ms = performance.now() - startedAt;
  const added = answer.type === 'members-added' ? answer.added : -1;
  if (added !== (kind === 'subscribe' ? 1 : 0)) throw new Error(JSON.stringify(answer));
  return ms;
}

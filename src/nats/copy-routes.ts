/**
 * Over which route one copy went, read from the delivery record for each bounce. What a range of members came to is read once and
 * remembered, as DSNs of one post come together: so many of them cost a few reads. A copy may well come back before its chunk is
 * told of; what is not finished is looked at once a second at most, however many ask.
 */
import { MailError } from '../errors.ts';
import { type Fate, inOrder, stands, type Told } from '../mail/fate.ts';
import type { ListKey } from '../mail/list-key.ts';
import { type Range, rangeOf, rangesOf } from '../mail/ranges.ts';
import type { Clock, RouteOf } from '../world.ts';
import type { Asker } from './ask.ts';
import { BadMessage } from './codec.ts';
import type { Nats } from './connect.ts';
import { type Name, namesOf, oneRoute, rangeIn, readAll } from './delivery-record.ts';
import { results } from './subjects.ts';

/** How long what may still change is good for. */
export const UNFINISHED_MS = 1_000;
/** Posts of which it is remembered which members their ranges have. */
const POSTS_MAX = 1_000;
/** Posts of which it is remembered which results they have: one to a million members has thousands. */
const LISTED_MAX = 32;
/** Ranges whose first tries are remembered: all of some posts to the largest lists. One is a few hundred bytes, mostly. */
const RANGES_MAX = 4_000;
const BY = { kind: 'operator', name: 'delivery' } as const;

/** Members, and the route that their copies went over. */
type Routes = readonly (readonly [...range: Range, route: string])[];
type FirstTry = { readonly isDone: boolean; readonly handed: Routes };
type Copies = { readonly key: ListKey; readonly post: number; readonly range: number };

/** Says at once what it remembers. The list's owner is asked once for each post, which members its ranges have. */
export function routesOf(
  nats: Nats,
  asker: Pick<Asker, 'question'>,
  clock: Pick<Clock, 'monotonic'>,
): RouteOf {
  const unfinished = (): number => UNFINISHED_MS;
  const widths = remembering<number | null>(clock, POSTS_MAX, (width) =>
    width === null ? UNFINISHED_MS : Number.POSITIVE_INFINITY,
  );
  // What is finished does not change.
  const firsts = remembering<FirstTry>(clock, RANGES_MAX, ({ isDone }) =>
    isDone ? Number.POSITIVE_INFINITY : UNFINISHED_MS,
  );
  const wholes = remembering<Routes>(clock, RANGES_MAX, unfinished);
  const names = remembering<readonly Name[]>(clock, LISTED_MAX, unfinished);

  const nameOf = ({ key, post, range }: Copies): string => `${key}.${post}.${range}`;
  async function askWidth(key: ListKey, post: number): Promise<number | null> {
    const reply = await asker.question(key, { ask: 'post', post, by: BY });
    return reply.ok ? reply.answer.width : null;
  }
  async function readFirst({ key, post, range }: Copies): Promise<FirstTry> {
    const id = { key, post: String(post), chunk: String(range), try: 0 };
    const told = await readAll(nats, [{ subject: results(id), chunk: id.chunk, try: 0 }]);
    const isDone = told[0]?.result.kind === 'done';
    return { isDone, handed: routesIn(told, ({ state }) => state === 'handed') };
  }
  /** Of its later tries too, and of what was sent again by hand. */
  async function readWhole({ key, post, range }: Copies): Promise<Routes> {
    const all = await names.read(`${key}.${post}`, () => namesOf(nats, key, post));
    const told = await readAll(
      nats,
      all.filter((name) => rangeIn(name) === range),
    );
    return routesIn(inOrder(told), () => true);
  }
  async function find(key: ListKey, post: number, member: number): Promise<string | null> {
    try {
      const width = await widths.read(`${key}.${post}`, () => askWidth(key, post));
      if (width === null) return null;
      const of = { key, post, range: Math.floor(member / width) };
      const first = await firsts.read(nameOf(of), () => readFirst(of));
      const found =
        rangeOf(first.handed, member) ??
        rangeOf(await wholes.read(nameOf(of), () => readWhole(of)), member);
      return found === null ? null : oneRoute(found[2]);
    } catch (error) {
      if (error instanceof MailError || error instanceof BadMessage) return null;
      throw error;
    }
  }
  return (key, post, member) => {
    const width = widths.known(`${key}.${post}`) ?? null;
    const range = width === null ? -1 : Math.floor(member / width);
    const found = rangeOf(firsts.known(nameOf({ key, post, range }))?.handed ?? [], member);
    return found === null ? find(key, post, member) : oneRoute(found[2]);
  };
}

/** Of whom it is told, and in what state it may be. */
function routesIn(told: readonly Told[], isMeant: (fate: Fate) => boolean): Routes {
  const meant = [...stands(told)].filter(([, fate]) => isMeant(fate));
  const routes = new Map(meant.map(([number, { route }]) => [number, route]));
  return rangesOf(routes, (a, b) => a === b);
}

// ── What was read a moment ago ────────────────────────────────────────────

type Remembering<T> = {
  /** Undefined if it is not remembered, or is still being read. */
  known(name: string): T | undefined;
  /** As remembered; else as it is read now, by the first who asks for all who ask meanwhile. A failure is not remembered. */
  read(name: string, read: () => Promise<T>): Promise<T>;
};

/** Remembers at most `max`, the newest, each for the time that it is good for. */
function remembering<T>(
  clock: Pick<Clock, 'monotonic'>,
  max: number,
  goodMs: (value: T) => number,
): Remembering<T> {
  type One = { readonly reading: Promise<T>; value?: T; until: number };
  const all = new Map<string, One>();
  const live = (name: string): One | undefined => {
    const one = all.get(name);
    return one !== undefined && clock.monotonic() < one.until ? one : undefined;
  };
  return {
    known: (name) => live(name)?.value,
    read(name, read) {
      const there = live(name);
      if (there !== undefined) return there.reading;
      const one: One = { reading: read(), until: Number.POSITIVE_INFINITY };
      all.delete(name);
      all.set(name, one);
      const [oldest = name] = all.keys();
      if (all.size > max) all.delete(oldest);
      one.reading.then(
        (value) => {
          one.value = value;
          one.until = clock.monotonic() + goodMs(value);
        },
        () => {
          one.until = Number.NEGATIVE_INFINITY;
        },
      );
      return one.reading;
    },
  };
}

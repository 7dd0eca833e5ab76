/**
 * Carries a chunk over one route after another, until everybody in it has an outcome or no route is left.
 *
 * A route that carries nothing more is left at once: whom it has in no transaction is sent to by the next. What is under way there waits
 * for its own end, ten minutes for an MTA that hangs at the dot, and nobody in it is sent to meanwhile; who then got no word, for a reason
 * that is the route's own, is sent to by another.
 */
import type { Chunk, Recipient } from '../mail/chunk.ts';
import type { Ready } from '../mail/dkim.ts';
import type { Lent, Meter, Route } from '../world.ts';
import { dueNow, type Ended, type Progress } from './outgoing-result.ts';
import { type SendNeeds, sendCopies, stopped } from './outgoing-send.ts';

export type CarryNeeds = Omit<SendNeeds, 'route' | 'bugs'> & {
  /** A route, and a place in its hand; null when none that was not `tried` may carry it. */
  lend(tried: readonly string[]): Promise<Lent | null>;
  /** The mail, once there is a route for it and for them; null when its raw mail is gone. */
  prepare(to: readonly Recipient[]): Promise<Ready | null>;
  readonly meter: Meter;
};

export type Carried = {
  readonly ended: Ended | 'gone';
  /** The last that was tried; '' if there was none. */
  readonly route: string;
  /** What was thrown that is no MailError; it ended as `cut` then. */
  readonly bugs: readonly unknown[];
};

type Journey = {
  readonly chunk: Chunk;
  readonly progress: Progress;
  readonly needs: CarryNeeds & Pick<SendNeeds, 'bugs'>;
  /** Routes that failed somebody. */
  readonly tried: Set<string>;
  /** Who got no word from a route, for a reason that is its own. */
  readonly unheard: Set<number>;
  /** What is under way at routes that were left. */
  readonly left: Set<Promise<void>>;
};

/** Notes each outcome in `progress` as it comes; nothing is under way any more when it resolves. */
export async function carry(
  chunk: Chunk,
  progress: Progress,
  carryNeeds: CarryNeeds,
): Promise<Carried> {
  const bugs: unknown[] = [];
  const needs = { ...carryNeeds, bugs };
  const [tried, unheard, left] = [new Set<string>(), new Set<number>(), new Set<Promise<void>>()];
  const journey: Journey = { chunk, progress, needs, tried, unheard, left };
  const now = needs.clock.now();
  const due = (): readonly Recipient[] => dueNow(chunk, progress, now);
  let cooked: Ready | null = null;
  let [ended, route]: [Ended, string] = ['all', ''];
  for (;;) {
    ended = stopped(needs) ?? endedBy(ended, due().length, unheard.size);
    const goesOn = ended === 'route' || (ended === 'all' && unheard.size > 0);
    const lent = goesOn ? await needs.lend([...tried]) : null;
    if (lent !== null) {
      cooked ??= await prepared(lent, due(), needs);
      if (cooked === null) return { ended: 'gone', route, bugs };
      for (const number of unheard) {
        if (progress.replies.get(number)?.code === 0) progress.repeated.add(number);
        progress.replies.delete(number);
      }
      unheard.clear();
      route = lent.route.name;
      ended = await sendOver(lent, due(), cooked, journey);
    } else if (left.size > 0) await Promise.race(left);
    else return { ended, route, bugs };
  }
}

/** How it ended so far, as those have it who are left. */
function endedBy(ended: Ended, due: number, unheard: number): Ended {
  if (ended !== 'route' && ended !== 'all') return ended;
  if (due > 0) return 'route';
  return unheard > 0 ? ended : 'all';
}

async function prepared(
  { giveBack }: Lent,
  to: readonly Recipient[],
  { prepare }: CarryNeeds,
): Promise<Ready | null> {
  try {
    const cooked = await prepare(to);
    if (cooked === null) giveBack();
    return cooked;
  } catch (error) {
    giveBack();
    throw error;
  }
}

/** Over one route; its place there is given back when nothing is under way any more. */
async function sendOver(
  { route, giveBack }: Lent,
  to: readonly Recipient[],
  cooked: Ready,
  journey: Journey,
): Promise<Ended> {
  const { chunk, progress, needs, tried, left } = journey;
  const { ended, underWay } = await sendCopies(chunk, to, cooked, progress, { ...needs, route });
  const heard = hear(route, journey);
  if (underWay.length === 0) giveBack();
  else void Promise.all(underWay).then(giveBack);
  if (ended !== 'route') {
    await heard;
    return ended;
  }
  tried.add(route.name);
  const later = underWay.map((worker) => worker.then(() => hear(route, journey)));
  for (const one of [heard, ...later]) {
    const settled = one.finally(() => left.delete(settled));
    left.add(settled);
  }
  return ended;
}

/**
 * Whom the MTA turned away with 421, which closes the connection whoever they are (RFC 5321 §3.8); and, if the MTA itself
 * is gone, those whose final dot it did not answer. If it lives, what it did not answer may be about the mail, and they wait.
 */
async function hear(
  route: Route,
  { chunk, progress, needs, tried, unheard }: Journey,
): Promise<void> {
  const { name } = route;
  const told = (wanted: number): readonly number[] =>
    [...progress.replies].flatMap(([number, { code, route: by }]) =>
      code === wanted && by === name && !unheard.has(number) ? [number] : [],
    );
  const note = (numbers: readonly number[]): void => {
    if (numbers.length > 0) tried.add(name);
    for (const number of numbers) unheard.add(number);
  };
  note(told(421));
  if (told(0).length === 0 || (await route.isAlive())) return;
  const maybes = told(0);
  needs.meter.count('outgoing_maybe', { route: name, class: chunk.class }, maybes.length);
  note(maybes);
}

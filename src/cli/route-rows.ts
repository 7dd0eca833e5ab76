/** Routes as nodes answer about them, as one: what each node carries is added up, and drawn. Pure. */
import { z } from 'zod';

const row = z.object({
  name: z.string(),
  to: z.string(),
  role: z.enum(['primary', 'fallback']),
  weight: z.number(),
  share: z.number(),
  mode: z.string(),
  since: z.number(),
  how: z.string().nullable(),
  problem: z.string().nullable(),
  inHand: z.number(),
  waiting: z.number(),
  connections: z.object({ open: z.number(), max: z.number() }),
  accepted: z.number(),
  failed: z.number(),
  troubles: z.record(z.string(), z.number()),
  origin: z.string(),
});
const answer = z.object({
  node: z.string(),
  strategy: z.string(),
  devmode: z.string().nullable(),
  routes: z.array(row),
});

export type RouteRow = z.output<typeof row>;
export type RoutesAnswer = z.output<typeof answer>;

/** Throws where it is none; a newer node may say more. */
export const routesOf = (given: unknown): RoutesAnswer => answer.parse(given);

/** Modes and settings are the first node's, since all share them; what is counted is the sum, the share that of all in the mean. */
export function merged(answers: readonly RoutesAnswer[]): readonly RouteRow[] {
  const [first, ...others] = answers;
  return (first?.routes ?? []).map((route) => {
    const sum = others.reduce((before, { routes }) => {
      const same = routes.find(({ name }) => name === route.name);
      return same === undefined ? before : added(before, same);
    }, route);
    return { ...sum, share: sum.share / answers.length };
  });
}

/** The nodes whose slices are not those of all: what they adapted to, or cannot use, is their own. */
export function ownSlices(answers: readonly RoutesAnswer[]): readonly RoutesAnswer[] {
  const drawn = answers.map(({ routes }) => slices(routes));
  return new Set(drawn).size > 1 ? answers : [];
}

function added(a: RouteRow, b: RouteRow): RouteRow {
  const names = [...new Set([...Object.keys(a.troubles), ...Object.keys(b.troubles)])];
  return {
    ...a,
    share: a.share + b.share,
    inHand: a.inHand + b.inHand,
    waiting: a.waiting + b.waiting,
    connections: {
      open: a.connections.open + b.connections.open,
      max: a.connections.max + b.connections.max,
    },
    accepted: a.accepted + b.accepted,
    failed: a.failed + b.failed,
    troubles: Object.fromEntries(
      names.map((name) => [name, (a.troubles[name] ?? 0) + (b.troubles[name] ?? 0)]),
    ),
  };
}

const SLICES_WIDTH = 64;
const MARKS = '123456789abcdefghijklmnopqrstuvw';

/** The mark of the i-th route in the slices. */
export const markOf = (i: number): string => MARKS[i] ?? '?';

/** The hash space as 64 marks, each the route that has it now; '' where nothing is sent. */
export function slices(routes: readonly RouteRow[]): string {
  let marks = '';
  let end = 0;
  for (const [i, { share }] of routes.entries()) {
    end += share;
    marks = marks.padEnd(Math.round(end * SLICES_WIDTH), markOf(i));
  }
  return marks;
}

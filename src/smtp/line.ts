/** Who waits for a connection, or for a place in a hand: a line for each class, first come first served, and the lines in the order of the classes. */
import { CLASSES, type Class } from '../mail/chunk.ts';
import { type ClassOrder, chosenByWeight, isLarge } from '../mail/class-order.ts';

export type Line<T> = {
  join(cls: Class, who: T): void;
  /** Takes out the next, by weight; none of a large class unless `mayBeLarge`. Null when nobody is left. */
  next(mayBeLarge: boolean): { readonly who: T; readonly isLarge: boolean } | null;
  /** Those of the large classes, or of the others. */
  count(which: 'large' | 'small'): number;
  /** Whether somebody of a class that comes before this one waits. */
  isWaitedBefore(cls: Class): boolean;
  /** In the order of the lines. */
  all(): readonly T[];
  leave(who: T): void;
  /** Sends everybody away. */
  clear(): readonly T[];
};

type ClassLine<T> = {
  readonly isLarge: boolean;
  readonly weight: number;
  credit: number;
  readonly waiting: T[];
};

export function createLine<T>({ weights }: ClassOrder): Line<T> {
  const lineOf = (cls: Class): ClassLine<T> => ({
    ...{ isLarge: isLarge(cls), weight: weights[cls], credit: 0, waiting: [] },
  });
  const lines = new Map(CLASSES.map((cls) => [cls, lineOf(cls)]));
  const all = [...lines.values()];
  return {
    join: (cls, who) => void lines.get(cls)?.waiting.push(who),
    next(mayBeLarge) {
      const ready = all.filter((line) => line.waiting.length > 0 && (mayBeLarge || !line.isLarge));
      const line = chosenByWeight(ready);
      const who = line?.waiting.shift();
      return line === null || who === undefined ? null : { who, isLarge: line.isLarge };
    },
    count: (which) =>
      all
        .filter((line) => line.isLarge === (which === 'large'))
        .reduce((sum, { waiting }) => sum + waiting.length, 0),
    isWaitedBefore: (cls) =>
      all.some(({ waiting, weight }) => waiting.length > 0 && weight > weights[cls]),
    all: () => all.flatMap(({ waiting }) => waiting),
    leave(who) {
      for (const { waiting } of all) {
        const at = waiting.indexOf(who);
        if (at >= 0) waiting.splice(at, 1);
      }
    },
    clear: () => all.flatMap(({ waiting }) => waiting.splice(0)),
  };
}

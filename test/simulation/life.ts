/**
 * A life: one run of one node's process, from its start to its crash or its end.
 *
 * Everything the process does to the world goes through its life, so that a crash can fall before or after any of it. What a
 * dead process still does has no effect and never comes back; what it had sent is on its way all the same.
 */
import { MailError } from '../../src/errors.ts';
import type { Clock } from '../../src/world.ts';
import type { Chance } from './chance.ts';
import { DULL, type Net } from './net.ts';
import { sleepBy, type Timeline } from './timeline.ts';

export type Life = {
  /** `n1.2`: the second life of node n1. */
  readonly name: string;
  readonly node: string;
  readonly clock: Clock;
  isAlive(): boolean;
  isPaused(): boolean;
  isConnected(): boolean;
  /** Before each thing done to the world: false if the process is dead, and it must not happen. */
  touch(what: string): boolean;
  /** Runs in this process in `ms`, after its pause if it is paused, never once it is dead. */
  later(ms: number, what: string, run: () => void): () => void;
  /** Asks the bus; rejects with 451 when no answer has come in time, unless `doubt` says what that means. */
  call<T>(what: string, serve: () => T | Promise<T>, doubt?: () => T): Promise<T>;
  /** Tells the bus, and waits for nothing. */
  tell(what: string, serve: () => void): void;
  /** Carries a message from the bus to this process. */
  hear(what: string, run: () => void): void;
  /** The process dies at its `calls`-th touch from now. */
  arm(calls: number): void;
  die(why: string): void;
  pause(): void;
  resume(): void;
  onDeath(run: () => void): void;
};

export type LifeNeeds = {
  readonly node: string;
  readonly name: string;
  readonly timeline: Timeline;
  readonly net: Net;
  readonly chance: Chance;
  /** The node's wall clock. */
  readonly now: () => number;
};

const TIMEOUT_MS = 5_000;
/** What a process had sent when it was killed may be lost with its sockets. */
const LOST_WITH_SOCKET = 0.3;

export const away = (): MailError => new MailError(451, '4.3.0', 'no answer from the bus');
const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

export function createLife(needs: LifeNeeds): Life {
  const { node, name, timeline, net, chance } = needs;
  const funeral: (() => void)[] = [];
  let isAlive = true;
  let isPaused = false;
  let backlog: (() => void)[] = [];
  let armed = 0;

  const run = (what: () => void): void => {
    if (!isAlive) return;
    if (isPaused) backlog.push(what);
    else what();
  };
  const self: Self = {
    run,
    isAlive: () => isAlive,
    later(ms, what, then) {
      const label = what === '' ? '' : `${name}: ${what}`;
      return timeline.after(ms, label, () => run(then));
    },
    touch(what) {
      if (!isAlive) return false;
      armed -= 1;
      if (armed !== 0) return true;
      const isDone = chance.is(0.5);
      die(`armed, ${isDone ? 'after' : 'before'} ${what}`);
      return isDone;
    },
  };
  function die(why: string): void {
    if (!isAlive) return;
    isAlive = false;
    backlog = [];
    timeline.note(`${name} DIES: ${why}`);
    for (const one of funeral) one();
  }
  return {
    ...{ name, node, die, isAlive: self.isAlive, touch: self.touch, later: self.later },
    ...wireOf(self, needs),
    clock: clockOf(needs, self.later),
    isPaused: () => isPaused,
    isConnected: () => net.isBusUp && !net.cut.has(node),
    arm: (calls) => {
      armed = calls;
    },
    pause: () => {
      isPaused = true;
    },
    resume() {
      isPaused = false;
      // In their order, each as a step of its own.
      backlog.splice(0).forEach((waiting, i) => {
        timeline.after(i / 1_000, '', () => run(waiting));
      });
    },
    onDeath: (then) => funeral.push(then),
  };
}

/** The process itself: what it does happens while it lives and is not paused. */
type Self = Pick<Life, 'isAlive' | 'touch' | 'later'> & { run(what: () => void): void };

/** What goes between the process and the bus. */
function wireOf(
  { run, isAlive, touch, later }: Self,
  { node, name, timeline, net, chance }: LifeNeeds,
): Pick<Life, 'call' | 'tell' | 'hear'> {
  const arrive = (serve: () => void): void => {
    if (isAlive() || !chance.is(LOST_WITH_SOCKET)) serve();
  };
  return {
    call<T>(what: string, serve: () => T | Promise<T>, doubt?: () => T): Promise<T> {
      if (!touch(what)) return never<T>();
      return new Promise<T>((resolve, reject) => {
        const off = later(TIMEOUT_MS, '', () => {
          if (!DULL.test(what)) timeline.note(`${name}: no answer: ${what}`);
          if (doubt === undefined) reject(away());
          else resolve(doubt());
        });
        const back = (settle: () => void): void =>
          net.carry(node, `${name} ← ${what}`, () =>
            run(() => {
              off();
              settle();
            }),
          );
        net.carry(node, `${name} → ${what}`, () =>
          arrive(() => {
            const served = new Promise<T>((done) => done(serve()));
            served.then(
              (value) => back(() => resolve(value)),
              (error: unknown) => back(() => reject(error)),
            );
          }),
        );
      });
    },
    tell(what, serve) {
      if (touch(what)) net.carry(node, `${name} → ${what}`, () => arrive(serve));
    },
    hear: (what, then) => net.carry(node, `${name} ← ${what}`, () => run(then)),
  };
}

function clockOf({ timeline, now }: LifeNeeds, later: Life['later']): Clock {
  return {
    now,
    monotonic: () => timeline.now(),
    sleep: sleepBy(later),
  };
}

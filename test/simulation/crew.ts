/** Simulates many seeds in several processes at once. A seed's story is the same wherever it is told. */
import { fork } from 'node:child_process';
import type { Order } from './job.ts';
import type { Mutant } from './mutants.ts';
import { type Outcome, simulate } from './simulate.ts';

export type Crew = {
  /** What came of each seed, in their order; one call at a time. Throws if a job's process ends before its time. */
  outcomes(seeds: readonly number[], mutant?: Mutant | null): AsyncGenerator<Outcome, void, void>;
  dismiss(): void;
};

/** A job has one core: threads of its own for garbage would only take turns with it, and with the other jobs. */
const JOB_FLAGS = ['--single-threaded-gc'];

/** One job is this very process. */
export function hireCrew(jobs: number): Crew {
  const crew = jobs > 1 ? Array.from({ length: jobs }, hire) : [here];
  return {
    async *outcomes(seeds, mutant = null) {
      const told = seeds.map(() => Promise.withResolvers<Outcome>());
      // Each is looked at in its turn, and may have failed before that.
      for (const { promise } of told) promise.catch(() => undefined);
      const open = seeds.entries();
      const work = async ({ run }: Job): Promise<void> => {
        for (const [i, seed] of open) {
          await run({ seed, mutant }).then(told[i]?.resolve, told[i]?.reject);
        }
      };
      for (const job of crew) void work(job);
      for (const { promise } of told) yield await promise;
    },
    dismiss: () => {
      for (const job of crew) job.end();
    },
  };
}

type Job = {
  /** Waits for its outcome before it is handed the next. */
  run(order: Order): Promise<Outcome>;
  end(): void;
};

const here: Job = { run: ({ seed, mutant }) => simulate(seed, mutant), end: () => undefined };

function hire(): Job {
  const child = fork(new URL('./job.ts', import.meta.url), { execArgv: JOB_FLAGS });
  let answer: PromiseWithResolvers<Outcome> | null = null;
  let isOver = false;
  child.on('message', (outcome: Outcome) => answer?.resolve(outcome));
  child.on('exit', () => {
    isOver = true;
    answer?.reject(new Error('the process of a simulation ended before it did'));
  });
  return {
    run(order) {
      answer = Promise.withResolvers();
      if (isOver) answer.reject(new Error(`no process is left to simulate seed ${order.seed}`));
      else child.send(order);
      return answer.promise;
    },
    end: () => void child.kill(),
  };
}

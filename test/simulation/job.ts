/** A job of a crew (`crew.ts`), in a process of its own: simulates each seed that it is handed and says what came of it. */
import type { Mutant } from './mutants.ts';
import { simulate } from './simulate.ts';

export type Order = { readonly seed: number; readonly mutant: Mutant | null };

process.on('message', ({ seed, mutant }: Order) => {
  void simulate(seed, mutant).then((outcome) => process.send?.(outcome));
});
// Whoever wanted to know is gone.
process.on('disconnect', () => process.exit());

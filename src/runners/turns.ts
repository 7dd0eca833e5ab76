/** Much small work without a long turn: what else this process has to do comes between. */

/** Resolves in a turn of the event loop to come, with so many others at most, in the order in which they asked. */
export function createTurns(
  nextTurn: (run: () => void) => void,
  most: number,
): () => Promise<void> {
  const waiting: (() => void)[] = [];
  const next = (): void => {
    for (const go of waiting.splice(0, most)) go();
    if (waiting.length > 0) nextTurn(next);
  };
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      if (waiting.length === 1) nextTurn(next);
    });
}

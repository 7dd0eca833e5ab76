/** An `Out` whose streams remember what was written. */
import { outOf } from '../../src/cli/print.ts';

export function recorder(isTTY = false, json = false) {
  const written = { out: '', err: '' };
  const stream = (to: 'out' | 'err') => ({
    isTTY,
    write: (text: string): void => {
      written[to] += text;
    },
  });
  return { out: outOf(stream('out'), stream('err'), json, false), written };
}

/** How much of this process's memory is in use: what is not yet given back says nothing, and depends on the machine. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes that something still holds: of the heap and outside it, once what nobody holds is gone. */
export async function liveBytes(): Promise<number> {
  collect();
  await new Promise((resolve) => setImmediate(resolve)); // What is called when something was collected may hold more.
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/**
 * The heap of another Node process, as its own inspector tells it after a collection. The inspector is opened by SIGUSR1, so
 * that a process which is not asked has nothing of it.
 */
import { until } from '../support/until.ts';

/** For NODE_OPTIONS of the process: the inspector listens on a port of the system's choice. */
export const HEAP_OPTIONS = '--inspect-port=127.0.0.1:0';

export type Heap = {
  /** Bytes of objects that are still reached, and of the buffers that they hold. */
  usedBytes(): Promise<number>;
  close(): void;
};

type Answer = { readonly id?: number; readonly result?: unknown; readonly error?: unknown };
type Usage = { readonly usedSize: number; readonly backingStorageSize?: number };

/** `said` gives what the process wrote to its standard error of late. */
export async function openHeap(pid: number, said: () => string): Promise<Heap> {
  process.kill(pid, 'SIGUSR1');
  const url = await until('the inspector listens', () => {
    const [found] = /ws:\/\/\S+/.exec(said()) ?? [];
    return found ?? null;
  });
  const socket = new WebSocket(url);
  const waiting = new Map<number, (answer: Answer) => void>();
  socket.addEventListener('message', ({ data }) => {
    const answer = JSON.parse(String(data)) as Answer;
    waiting.get(answer.id ?? 0)?.(answer);
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true });
    socket.addEventListener('error', reject, { once: true });
  });
  let asked = 0;
  const ask = async (method: string): Promise<unknown> => {
    const id = ++asked;
    const answered = new Promise<Answer>((resolve) => waiting.set(id, resolve));
    socket.send(JSON.stringify({ id, method }));
    const { result, error } = await answered;
    waiting.delete(id);
    if (error !== undefined) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result;
  };
  return {
    async usedBytes() {
      // What a first collection finalizes, a second one frees.
      for (let i = 0; i < 2; i++) await ask('HeapProfiler.collectGarbage');
      const { usedSize, backingStorageSize = 0 } = (await ask('Runtime.getHeapUsage')) as Usage;
      return usedSize + backingStorageSize;
    },
    close: () => socket.close(),
  };
}

/** LATER in memory: keeps what must wait and puts it into the due queue when the clock says so. */
import { assert } from '../../../src/assert.ts';
import { encodeDue } from '../../../src/nats/codec.ts';
import { DUE } from '../../../src/nats/subjects.ts';
import type { Clock, Due, Later } from '../../../src/world.ts';
import type { FakeQueue } from './queue.ts';

export type FakeLater<C> = Later<C> & {
  /** What waits, by id. */
  readonly waiting: ReadonlyMap<string, { readonly at: number; readonly due: Due<C> }>;
};

type Waiting<C> = { readonly at: number; readonly due: Due<C>; readonly ended: AbortController };

export function createFakeLater<C>(clock: Clock, due: FakeQueue): FakeLater<C> {
  const waiting = new Map<string, Waiting<C>>();
  const cancel = (id: string): void => {
    assert(/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(id), 'the id of what waits is no subject token');
    waiting.get(id)?.ended.abort('cancelled');
    waiting.delete(id);
  };
  const put = (id: string, at: number, what: Due<C>): void => {
    cancel(id);
    const ended = new AbortController();
    waiting.set(id, { at, due: what, ended });
    void clock.sleep(Math.max(0, at - clock.now()), ended.signal).then(() => {
      if (ended.signal.aborted) return;
      waiting.delete(id);
      due.put(`${DUE}.${id}`, encodeDue(what));
    });
  };
  return {
    waiting,
    async put(id, at, what) {
      put(id, at, what);
    },
    async hasten(prefix) {
      for (const [id, one] of [...waiting]) if (id.startsWith(`${prefix}.`)) put(id, 0, one.due);
    },
    async cancel(id) {
      cancel(id);
    },
  };
}

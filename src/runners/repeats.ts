/**
 * What the loss of a node may have repeated: a chunk that it had open comes again to somebody else, who knows of it only what
 * was told. Whom no result names may have got their copy already. It is bounded by what was open there, and counted here.
 */
import type { Log } from '../log.ts';
import { type Chunk, type Class, chunkName } from '../mail/chunk.ts';
import type { Delivery, Meter } from '../world.ts';

/** A chunk that came again, and who of it may have got it twice, at most. */
export type Repeat = { readonly class: Class; readonly recipients: number };

export type Repeats = {
  /** A chunk is about to be sent to so many who are not known to have it; true if somebody had it in hand before. */
  note(chunk: Chunk, delivery: Pick<Delivery, 'deliveries'>, recipients: number): boolean;
  /** One that another process noted which sends for this one. */
  add(repeat: Repeat): void;
  /** Since this process started: chunks that came again, and who of them may have got it twice, at most. */
  all(): { readonly chunks: number; readonly recipients: number };
};

/** `tell`: to whom this process sends for. */
export function createRepeats(needs: {
  readonly log: Log;
  readonly meter: Meter;
  readonly tell?: (repeat: Repeat) => void;
}): Repeats {
  const { log, meter, tell } = needs;
  let chunks = 0;
  let all = 0;
  function add({ class: cls, recipients }: Repeat): void {
    chunks += 1;
    all += recipients;
    meter.count('chunks_repeated', { class: cls });
    meter.count('recipients_repeated', { class: cls }, recipients);
  }
  return {
    note(chunk, { deliveries }, recipients) {
      if (deliveries <= 1 || recipients === 0) return false;
      const repeat = { class: chunk.class, recipients };
      add(repeat);
      tell?.(repeat);
      const { key: list, post, trace } = chunk;
      const fields = { runner: 'outgoing', trace, list, post, chunk: chunkName(chunk), deliveries };
      log.warn(
        { ...fields, recipients },
        'a chunk came again: so many, at most, may get their copy twice',
      );
      return true;
    },
    add,
    all: () => ({ chunks, recipients: all }),
  };
}

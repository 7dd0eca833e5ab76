/**
 * What the loss of a node may have repeated: a chunk that it had open comes again to somebody else, who knows of it only what
 * was told. Whom no result names may have got their copy already. It is bounded by what was open there, and counted here.
 */
import type { Log } from '../log.ts';
import { type Chunk, chunkName } from '../mail/chunk.ts';
import type { Delivery, Meter } from '../world.ts';

export type Repeats = {
  /** A chunk is about to be sent to so many who are not known to have it. */
  note(chunk: Chunk, delivery: Pick<Delivery, 'deliveries'>, recipients: number): void;
  /** Since this process started: chunks that came again, and who of them may have got it twice, at most. */
  all(): { readonly chunks: number; readonly recipients: number };
};

export function createRepeats({ log, meter }: { log: Log; meter: Meter }): Repeats {
  let chunks = 0;
  let all = 0;
  return {
    note(chunk, { deliveries }, recipients) {
      if (deliveries <= 1 || recipients === 0) return;
      chunks += 1;
      all += recipients;
      meter.count('chunks_repeated', { class: chunk.class });
      meter.count('recipients_repeated', { class: chunk.class }, recipients);
      const { key: list, post, trace } = chunk;
      const fields = { runner: 'outgoing', trace, list, post, chunk: chunkName(chunk), deliveries };
      log.warn(
        { ...fields, recipients },
        'a chunk came again: so many, at most, may get their copy twice',
      );
    },
    all: () => ({ chunks, recipients: all }),
  };
}

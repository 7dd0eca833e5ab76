/** What a host may be asked about its lists: to decide a command, and questions, whose answers change nothing. */
import type { ChainQuestion } from '../../actors/list/repairing.ts';
import type { Command, InspectLevel, Question } from '../../actors/protocol.ts';
import { MailError } from '../errors.ts';
import { type ListKey, slotOf } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import type { Asked } from '../world.ts';
import type { Lists } from './awake.ts';
import { answerBounces, isAboutBounces } from './bounce-questions.ts';
import type { Bounces } from './bounces.ts';
import type { Lease } from './lease.ts';
import { lagAt } from './levels.ts';
import { answer, type QuestionAnswer } from './questions.ts';
import type { Suspicion } from './suspicion.ts';
import type { Reply } from './turn.ts';
import type { HostWorld } from './world.ts';

export type Asking = {
  /** Decides a command; resolves when its turn is over. Never rejects. */
  command(key: ListKey, asked: Asked<Command>): Promise<Reply>;
  question(key: ListKey, question: Exclude<Question, ChainQuestion>): QuestionAnswer;
  /** What the list's ledger is like, read from its first record. Rejects with MailError 451. */
  chain(key: ListKey): Promise<QuestionAnswer>;
  /** The list as its owner has it, compared with the ledger as far as the level says. Rejects with MailError 451. */
  inspect(key: ListKey, level: InspectLevel): Promise<QuestionAnswer>;
  /** Where a list's history stands: its owner's epoch, its last record's sequence and number. */
  position(key: ListKey): { readonly epoch: number; readonly seq: number; readonly n: number };
  /** False if the list's slot is not ours, or not ours for long enough to speak for it. */
  mayAnswer(key: ListKey): boolean;
};

type Needs = {
  readonly world: HostWorld;
  readonly lists: Lists;
  readonly bounces: Bounces;
  readonly suspicion: Suspicion;
  readonly lease: Pick<Lease, 'msLeft'>;
  readonly isServed: (slot: number) => boolean;
  readonly isDiskLow: () => boolean;
};

export function createAsking(needs: Needs): Asking {
  const { world, lists, bounces, suspicion, lease } = needs;

  function question(key: ListKey, asked: Exclude<Question, ChainQuestion>): QuestionAnswer {
    if (isAboutBounces(asked)) {
      bounces.settle(slotOf(key)); // What is folded and not written yet is asked about too.
      return answerBounces({ world, suspicion }, key, asked, bounces.status(slotOf(key)));
    }
    return answer(world.rows, key, asked, () => ({
      ...lists.running(key),
      node: world.node,
      asOf: world.clock.now(),
      leaseMsLeft: Math.round(lease.msLeft()),
    }));
  }

  return {
    command: (key, asked) => {
      const low = needs.isDiskLow()
        ? new MailError(452, '4.3.1', 'no room; try again later')
        : null;
      const { id, command } = asked;
      if (low === null && command.type === 'repair')
        return lists.repairs.repair(key, { id, command });
      const error = low ?? lists.refusal(key);
      if (error !== null) return Promise.resolve({ kind: 'failed', error });
      const bytes = JSON.stringify(asked).length;
      return new Promise((reply) => lists.enqueue(key, { asked, bytes, reply }));
    },
    question,
    chain: lists.repairs.chain,
    inspect: async (key, level) => {
      const before = question(key, { ask: 'inspect' });
      if ('type' in before) return before;
      const lag = await lagAt(level, key, { world, lists });
      return { ...question(key, { ask: 'inspect' }), level, lag } as QuestionAnswer;
    },
    position: (key) => {
      const { seq, n } = openDraft(world.rows, key, 0).head();
      return { epoch: lists.running(key).epoch, seq, n };
    },
    mayAnswer: (key) => needs.isServed(slotOf(key)) && lease.msLeft() > 0,
  };
}

/**
 * The running site, as the command line sees it: asked over NATS. Nothing here reads another
 * process's store.
 */
import type {
  Answer,
  Command,
  HeldPost,
  ListView,
  Question,
  Refusal,
} from '../../actors/protocol.ts';
import { OperatorError } from '../errors.ts';
import { type Address, parseAddress } from '../mail/address.ts';
import type { Asker, AskReply } from '../nats/ask.ts';
import type { Nats } from '../nats/connect.ts';
import type { Directory, DirectoryEntry } from '../nats/directory.ts';
import type { Random } from '../world.ts';
import { refused } from './explain.ts';

export type Site = {
  readonly nats: Nats;
  readonly asker: Asker;
  readonly directory: Directory;
  /** The raw mail of a held post; null when it is gone. */
  rawOf(list: DirectoryEntry, held: HeldPost): Promise<Uint8Array | null>;
  /**
   * A request whose answer is JSON. Throws OperatorError when nobody answers, or with the answer's
   * own error, and `nextStep` then.
   */
  request(subject: string, body: unknown, timeoutMs?: number, nextStep?: string): Promise<unknown>;
  close(): Promise<void>;
};

// ── Lists ─────────────────────────────────────────────────────────────────

/** Parses what an operator typed as an address. Throws OperatorError. */
export function addressFrom(text: string): Address {
  const address = parseAddress(text.trim());
  if (address === null) {
    throw new OperatorError(`“${text}” is not a mail address`, 'Write it like dev@example.org.');
  }
  return address;
}

/** The directory's entry of a list. Throws OperatorError when there is none. */
export async function findList(site: Site, text: string): Promise<DirectoryEntry> {
  const address = addressFrom(text);
  const entry = await site.directory.find(address);
  if (entry !== null) return entry;
  throw refused({
    type: 'refusal',
    code: 'no-such-list',
    text: `there is no list ${address}`,
  });
}

/** A reply with what was asked for, and the number of the list's record that it stands on. */
export type Answered<T> = { readonly answer: T; readonly n: number };

/**
 * Asks a list to do something. Throws OperatorError when it refuses, or when its owner cannot be
 * reached.
 */
export async function command(
  site: Site,
  list: DirectoryEntry,
  id: string,
  what: Command,
): Promise<Answered<Answer>> {
  const { answer, n } = accepted(await site.asker.command(list.key, { id, command: what }));
  return { answer: answer as Answer, n };
}

/** Asks a list a question; the type of the answer is the question's (actors/protocol.ts). */
export async function question<T>(
  site: Site,
  list: DirectoryEntry,
  what: Question,
): Promise<Answered<T>> {
  const { answer, n } = accepted(await site.asker.question(list.key, what));
  return { answer: answer as T, n };
}

/** What a list is. */
export async function viewOf(site: Site, list: DirectoryEntry): Promise<ListView> {
  return (await question<ListView>(site, list, { ask: 'list' })).answer;
}

function accepted(reply: AskReply): { readonly answer: unknown; readonly n: number } {
  if (reply.ok) {
    const answer: unknown = reply.answer;
    if (isRefusalAnswer(answer)) throw refused(answer);
    return { answer, n: reply.n };
  }
  if ('refusal' in reply) throw refused(reply.refusal);
  throw new OperatorError(
    `the list cannot be reached: ${reply.error.text}`,
    'See `troupe doctor`; ask again in a moment.',
    reply.error,
  );
}

/** A question about what is not there is answered by a refusal. */
function isRefusalAnswer(answer: unknown): answer is Refusal {
  return (
    typeof answer === 'object' && answer !== null && 'type' in answer && answer.type === 'refusal'
  );
}

/** A new id for a command: it counts once however often it is sent. */
export function commandId(random: Random): string {
  return `cli.${Buffer.from(random.bytes(16)).toString('hex')}`;
}

/** What the host needs of the world: the seams, and the few things that `main.ts` makes of them. */
import type { Command, Question } from '../../actors/protocol.ts';
import type { Log } from '../log.ts';
import type { Address } from '../mail/address.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { AskReply, AskRequest } from '../nats/ask.ts';
import type { Suspects } from '../nats/suspects.ts';
import type {
  BounceLog,
  BouncesOut,
  Clock,
  CopiesByRoute,
  Disk,
  Later,
  Ledger,
  MailboxOut,
  MailStore,
  Meter,
  OutgoingOut,
  Parked,
  Queue,
  Results,
  Rows,
} from '../world.ts';

/** What the bounce actors need besides. */
export type BounceWorld = {
  /** The LMDB environment `bounces`. */
  readonly rows: Rows;
  readonly log: BounceLog;
  readonly copiesByRoute: CopiesByRoute;
  readonly mailbox: MailboxOut<Command>;
  /** A checkpoint after so many events, or so many ms, whichever is first. */
  readonly checkpointEvents: number;
  readonly checkpointMs: number;
  /** Resolves when nothing more urgent waits, or when work of that age (ms since the epoch) can wait no more. */
  readonly idle: (oldestAt: number, signal: AbortSignal) => Promise<void>;
  /** To what it yields now, and since when (ms since the epoch). */
  readonly yieldsTo: () => { readonly why: string; readonly since: number } | null;
};

/** Makes the directory say what a list is; done twice, it is the same. */
export type PublishDirectory = (
  address: Address,
  key: ListKey,
  state: 'active' | 'full' | 'retired',
  maxMessageBytes: number,
) => Promise<void>;

export type HostWorld = {
  readonly node: string;
  /** `http.url` of the site, for links in mail. */
  readonly web: () => string;
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly rows: Rows;
  readonly mailbox: (slot: number) => Queue;
  /** Takes requests for the lists of a slot until closed; a handler that gives null leaves the caller without an answer. */
  readonly serveAsks: (
    slot: number,
    handler: (key: ListKey, request: AskRequest) => Promise<AskReply | null>,
  ) => { close(): Promise<void> };
  /** Asks whoever owns the list; an answer may be that nobody does, or that NATS is away. */
  readonly askOwner: (key: ListKey, question: Question) => Promise<AskReply<unknown>>;
  readonly later: Later<Command>;
  readonly outgoing: OutgoingOut;
  readonly results: Pick<Results, 'order'>;
  readonly bounces: BouncesOut;
  readonly bounceFold: BounceWorld;
  /** Addresses that lists of this site found dead. */
  readonly suspects: Suspects;
  /** The newest of the site's secrets, for links in notices. */
  readonly secret: () => Uint8Array;
  /** A post to more members than this is `bulk`. */
  readonly bulkMembers: number;
  /** A list that has had nothing to do for this long leaves memory; looked at four times in that time. */
  readonly passiveMs: number;
  readonly mail: MailStore;
  readonly parked: Parked;
  readonly publishDirectory: PublishDirectory;
  readonly disk: Disk;
  readonly log: Log;
  readonly meter: Meter;
  /** Runs a function in the next tick: what commits together waits there for each other. */
  readonly nextTick: (run: () => void) => void;
  /** Awaited before a command is taken from MAILBOX: the edge goes first. */
  readonly yields: () => Promise<void>;
};

/**
 * Every stream, bucket and durable consumer, and all their settings: the only place that states
 * them. `ensure.ts` makes them so.
 *
 * Whoever states a setting anew raises {@link SCHEMA} and says in {@link CHANGES} what was stated
 * before. Shares of the store add up to 99 %: at 100 % the server refuses every further stream
 * (err 10047).
 */
import { CLASSES, type Class } from '../mail/chunk.ts';
import { MAIL_KINDS, type MailKind } from '../mail/envelope.ts';
import { SLOTS } from '../mail/list-key.ts';
import { DUE, mail, mailboxOfSlot, outgoing } from './subjects.ts';

export type StreamName =
  | 'TROUPE_MAIL'
  | 'TROUPE_MAILBOX'
  | 'TROUPE_LEDGER'
  | 'TROUPE_HELD'
  | 'TROUPE_LATER'
  | 'TROUPE_OUTGOING'
  | 'TROUPE_RESULTS'
  | 'TROUPE_BOUNCES'
  | 'TROUPE_ARCHIVE'
  | 'TROUPE_PARKED';

export type BucketName =
  | 'troupe_nodes'
  | 'troupe_slots'
  | 'troupe_directory'
  | 'troupe_site'
  | 'troupe_suspects';

/** What a site decides of its streams; the rest is ours. */
export type StreamOptions = {
  /** 1 on one machine, 3 in a cluster. */
  readonly replicas: number;
  /**
   * The server's `max_file_store`, bytes, as fixed at the first start; `max_bytes` are shares of
   * it.
   */
  readonly maxFileStore: number;
  /**
   * How long a chunk may be in hand without a sign of life, ms; 120 s unless a test wants less
   * (design §7).
   */
  readonly outgoingAckWaitMs?: number;
};

/** Largest stored message: a 512 KiB piece, record or command, and what describes it. */
export const MESSAGE_BYTES_MAX = 768 * 1024;
/**
 * Parked messages carry why they were parked on top of the largest message there is. The server's
 * max_payload.
 */
const PARKED_BYTES_MAX = 1024 * 1024;
/** A mailbox command is decided soon or renewed every 3 s (design §4). */
const MAILBOX_ACK_WAIT_MS = 10_000;
export const OUTGOING_ACK_WAIT_MS = 120_000;
/** Mail is parsed in a worker with a time limit well below this. */
const MAIL_ACK_WAIT_MS = 30_000;
const DUE_ACK_WAIT_MS = 30_000;
/** Deliveries of one consumer in hand at once, all nodes together. */
const ACK_PENDING_MAX = 1_024;

/** The server keeps 0.6 to 1.2 KiB in memory for each subject (`bench delivery`): so no more of it, nearly, than RESULTS has on disk. */
const RESULT_COUNTS_BYTES = 1024;

/** How long an address that a list found dead is suspect: as long as BOUNCES has what says so. */
export const SUSPECT_DAYS = 60;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

type Setting = {
  readonly subjects: readonly string[];
  readonly retention: 'limits' | 'workqueue';
  /** Parts of a hundred of the store. */
  readonly share: number;
  readonly maxAgeMs: number;
  /** `new`: when full, refuse (452) rather than lose the oldest. */
  readonly discard: 'new' | 'old';
  readonly duplicateWindowMs: number;
  /** A message counts as so long at least: a stream of short ones takes the server memory. */
  readonly countsBytes?: number;
  readonly more?: Readonly<Record<string, unknown>>;
};

const KEPT = {
  retention: 'limits',
  discard: 'new',
  duplicateWindowMs: 2 * MINUTE,
  maxAgeMs: 0,
} as const;
/** Takes atomic batches too. */
const BATCHED = { ...KEPT, more: { allow_atomic: true } } as const;

const STREAMS: Readonly<Record<StreamName, Setting>> = {
  TROUPE_MAIL: { ...BATCHED, subjects: ['troupe.mail.>'], share: 28, maxAgeMs: 10 * DAY },
  TROUPE_MAILBOX: {
    ...KEPT,
    subjects: ['troupe.mailbox.*.*'],
    retention: 'workqueue',
    share: 5,
  },
  // For ever: an expired last record would reset the fence of its list to 0 (reliability §0.7).
  TROUPE_LEDGER: {
    ...KEPT,
    subjects: ['troupe.ledger.*.*'],
    share: 19,
    more: { deny_delete: true },
  },
  TROUPE_HELD: { ...KEPT, subjects: ['troupe.held.*.*'], share: 2, maxAgeMs: 180 * DAY },
  // Schedules refuse `discard: new` (err 10052), so `later.ts` looks for room before it puts.
  TROUPE_LATER: {
    ...KEPT,
    subjects: ['troupe.later.>', `${DUE}.>`],
    retention: 'workqueue',
    discard: 'old',
    share: 2,
    more: { allow_msg_schedules: true },
  },
  TROUPE_OUTGOING: {
    ...BATCHED,
    subjects: ['troupe.outgoing.*'],
    retention: 'workqueue',
    duplicateWindowMs: 2 * HOUR,
    share: 15,
  },
  TROUPE_RESULTS: {
    ...KEPT,
    subjects: ['troupe.results.>'],
    discard: 'old',
    share: 5,
    maxAgeMs: 30 * DAY,
    countsBytes: RESULT_COUNTS_BYTES,
  },
  TROUPE_BOUNCES: { ...BATCHED, subjects: ['troupe.bounces.*.*'], share: 5, maxAgeMs: 60 * DAY },
  TROUPE_ARCHIVE: { ...KEPT, subjects: ['troupe.archive.*.*'], share: 15 },
  TROUPE_PARKED: {
    ...KEPT,
    subjects: ['troupe.parked.*'],
    discard: 'old',
    share: 2,
    maxAgeMs: 90 * DAY,
    more: { max_msg_size: PARKED_BYTES_MAX },
  },
};

/** The key-value buckets: all together some 1 % of the store. A key's older values are not kept. */
export const BUCKETS: Readonly<Record<BucketName, { share: number; ttlMs: number }>> = {
  /** One lease a node; the only heartbeat (design §9). */
  troupe_nodes: { share: 0.05, ttlMs: 15 * SECOND },
  troupe_slots: { share: 0.05, ttlMs: 0 },
  troupe_directory: { share: 0.8, ttlMs: 0 },
  troupe_site: { share: 0.1, ttlMs: 0 },
  /** Some 10,000 rows for each 10 GB. */
  troupe_suspects: { share: 0.05, ttlMs: SUSPECT_DAYS * DAY },
};

/** The version of what this program writes into streams and buckets, and of the settings that it states. */
export const SCHEMA = 3;

/** A setting that was stated otherwise until `schema`. */
export type Change = {
  readonly schema: number;
  readonly stream: string;
  /** A durable of the stream. */
  readonly consumer?: string;
  readonly setting: string;
  /** What is neither this nor what is stated now was changed by hand, and stays as it is. */
  readonly was: unknown;
};

/** Oldest first; kept for ever, since a site may come from any version. */
export const CHANGES: readonly Change[] = [
  { schema: 2, stream: 'TROUPE_BOUNCES', setting: 'allow_atomic', was: false },
  { schema: 2, stream: 'TROUPE_RESULTS', setting: 'max_msgs', was: -1 },
];

/** The names of the durables: one a mail kind, one a slot, one a class, one for what is due. */
export const mailDurable = (kind: MailKind): string => `mail_${kind}`;
export const mailboxDurable = (slot: number): string => `mailbox_${slot}`;
export const outgoingDurable = (cls: Class): string => `outgoing_${cls}`;
export const DUE_DURABLE = 'due';

/** The stream behind a bucket, as the key-value clients of NATS name it. */
export const bucketStream = (bucket: BucketName): string => `KV_${bucket}`;

export type StreamConfig = Readonly<Record<string, unknown>> & { readonly name: string };
export type ConsumerConfig = Readonly<Record<string, unknown>> & {
  readonly durable_name: string;
  readonly filter_subject: string;
};

/** Settings of all streams, buckets included, in the words of the JetStream API. */
export function streamConfigs(options: {
  readonly replicas: number;
  readonly maxFileStore: number;
}): readonly StreamConfig[] {
  const bytes = (share: number): number => Math.floor((options.maxFileStore * share) / 100);
  const common = {
    storage: 'file',
    num_replicas: options.replicas,
    allow_direct: false,
    max_msg_size: MESSAGE_BYTES_MAX,
  };
  const streams = Object.entries(STREAMS).map(([name, setting]) => ({
    ...common,
    name,
    subjects: setting.subjects,
    retention: setting.retention,
    discard: setting.discard,
    max_age: nanoseconds(setting.maxAgeMs),
    max_bytes: bytes(setting.share),
    ...(setting.countsBytes && {
      max_msgs: Math.floor(bytes(setting.share) / setting.countsBytes),
    }),
    duplicate_window: nanoseconds(setting.duplicateWindowMs),
    ...setting.more,
  }));
  const buckets = Object.entries(BUCKETS).map(([bucket, { share, ttlMs }]) => ({
    ...common,
    name: bucketStream(bucket as BucketName),
    subjects: [`$KV.${bucket}.>`],
    retention: 'limits',
    discard: 'new',
    max_msgs_per_subject: 1,
    max_age: nanoseconds(ttlMs),
    max_bytes: bytes(share),
    duplicate_window: nanoseconds(ttlMs > 0 ? Math.min(ttlMs, 2 * MINUTE) : 2 * MINUTE),
    allow_rollup_hdrs: true,
    deny_delete: true,
  }));
  return [...streams, ...buckets];
}

/**
 * Settings of all durables. No back-off: its first step would replace ack_wait (reliability §1).
 */
export function consumerConfigs(
  options: Pick<StreamOptions, 'outgoingAckWaitMs'>,
): readonly [StreamName, ConsumerConfig][] {
  const durable = (name: string, subject: string, ackWaitMs: number): ConsumerConfig => ({
    durable_name: name,
    filter_subject: subject,
    deliver_policy: 'all',
    ack_policy: 'explicit',
    ack_wait: nanoseconds(ackWaitMs),
    max_deliver: -1,
    max_ack_pending: ACK_PENDING_MAX,
  });
  const slots = Array.from({ length: SLOTS }, (_, slot) => slot);
  const outgoingAckWaitMs = options.outgoingAckWaitMs ?? OUTGOING_ACK_WAIT_MS;
  return [
    ...MAIL_KINDS.map((kind): [StreamName, ConsumerConfig] => [
      'TROUPE_MAIL',
      durable(mailDurable(kind), mail(kind), MAIL_ACK_WAIT_MS),
    ]),
    ...slots.map((slot): [StreamName, ConsumerConfig] => [
      'TROUPE_MAILBOX',
      durable(mailboxDurable(slot), mailboxOfSlot(slot), MAILBOX_ACK_WAIT_MS),
    ]),
    ...CLASSES.map((cls): [StreamName, ConsumerConfig] => [
      'TROUPE_OUTGOING',
      durable(outgoingDurable(cls), outgoing(cls), outgoingAckWaitMs),
    ]),
    ['TROUPE_LATER', durable(DUE_DURABLE, `${DUE}.>`, DUE_ACK_WAIT_MS)],
  ];
}

const nanoseconds = (ms: number): number => ms * 1_000_000;

/** True if what the server says of a setting is `value`: it leaves out what is 0 or false. */
export function isSetting(is: unknown, value: unknown): boolean {
  const isLeftOut = is === undefined && (value === 0 || value === false);
  return isLeftOut || JSON.stringify(is) === JSON.stringify(value);
}

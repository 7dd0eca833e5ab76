/** The incoming runner in a world of two lists, and mail for it. */
import { expect } from 'vitest';
import type { Command } from '../../actors/protocol.ts';
import type { Log } from '../../src/log.ts';
import { type Address, addressKey, parseAddress } from '../../src/mail/address.ts';
import type { BounceEvent } from '../../src/mail/bounce-event.ts';
import type { KnownList } from '../../src/mail/classify.ts';
import { recognise } from '../../src/mail/dsn.ts';
import type { Envelope, MailRef } from '../../src/mail/envelope.ts';
import { type ListKey, listKeyOf } from '../../src/mail/list-key.ts';
import { makeMachineAddress } from '../../src/mail/machine-address.ts';
import { encodeMail, joinMails, mailsOf } from '../../src/nats/mail-message.ts';
import type { BatchMessage } from '../../src/nats/publisher.ts';
import { type IncomingNeeds, LOOP_LOG_EVERY_MS } from '../../src/runners/incoming.ts';
import { createThrottle } from '../../src/runners/throttle.ts';
import type { Asked, Delivery, Message } from '../../src/world.ts';

export const SECRET = new Uint8Array(32).fill(1);
export const address = (text: string): Address => parseAddress(text) ?? expect.unreachable(text);
export const JANE = address('jane@example.org');

function list(text: string, seed: number): KnownList {
  const key = listKeyOf(new Uint8Array(26).map((_, i) => seed * 7 + i));
  return { address: address(text), key, state: 'active', maxMessageBytes: 1_000_000 };
}

export const DEV = list('dev@lists.example', 1);
export const OPS = list('ops@lists.example', 2);
export const LATE = list('late@lists.example', 3);
export const PLAIN =
  'From: jane@example.org\r\nSubject: Hello\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n';

/** A world of two lists, and of one that only the leader knows; all that the runner did is kept. */
export function world() {
  const told: { key: ListKey; asked: Asked<Command> }[] = [];
  const parked: { where: string; seq: number; why: string }[] = [];
  const aside: Message[] = [];
  const bounced: { key: ListKey; event: BounceEvent }[] = [];
  const logged: Readonly<Record<string, unknown>>[] = [];
  const counted: string[] = [];
  const whole = new Map<number, Uint8Array>();
  const asked: Address[] = [];
  const time = { now: 0 };
  let failure: Error | null = null;
  const named = (lists: readonly KnownList[], name: Address) =>
    lists.find((each) => addressKey(each.address) === addressKey(name)) ?? null;
  const write = (fields: Readonly<Record<string, unknown>>) => void logged.push(fields);
  const log: Log = {
    debug: write,
    info: write,
    warn: write,
    error: write,
    fatal: write,
    child: () => log,
  };
  const needs: IncomingNeeds = {
    lists: {
      find: (name) => named([DEV, OPS], name),
      byKey: (key) => [DEV, OPS].find((each) => each.key === key) ?? null,
      keysByPrefix: (prefix) => [DEV.key, OPS.key].filter((key) => key.startsWith(prefix)),
    },
    findAtLeader: async (name) => {
      asked.push(name);
      return named([DEV, OPS, LATE], name);
    },
    isOurs: (domain) => domain === 'lists.example',
    secrets: { all: () => [SECRET] },
    mailsOf,
    turn: async () => undefined,
    read: async (ref: MailRef) => whole.get(ref.seq) ?? null,
    mailbox: {
      put: async (key, command) => {
        if (failure !== null) throw failure;
        told.push({ key, asked: command });
      },
    },
    bounces: { put: async (key, event) => void bounced.push({ key, event }) },
    routeOf: async (_, post, member) => (post === 3 ? `route of ${member}` : null),
    recognise,
    park: async (where, message, why) => {
      parked.push({ where, seq: message.seq, why });
      aside.push(message);
    },
    mayLogLoop: createThrottle({ monotonic: () => time.now }, LOOP_LOG_EVERY_MS),
    log,
    meter: { count: (name) => void counted.push(name), observe: () => {} },
  };
  return {
    needs,
    told,
    parked,
    aside,
    bounced,
    logged,
    counted,
    whole,
    asked,
    time,
    fail: (error: Error | null) => {
      failure = error;
    },
  };
}

export type MailOptions = { sender?: Address | ''; seq?: number; parts?: number[]; trace?: string };

/** A mail in hand, to these recipients. */
export function mailTo(
  recipients: readonly string[],
  raw: string = PLAIN,
  options: MailOptions = {},
): Delivery {
  const { seq = 7, parts = [] } = options;
  const headers = encodeMail(envelopeTo(recipients, options), parts);
  return messageOf({ data: Buffer.from(raw), headers }, seq);
}

/** Mails that came at once, as one message. */
export function mailsTo(
  mails: readonly (readonly [recipient: string, raw: string | Uint8Array])[],
  seq = 7,
): Delivery {
  const messages = mails.map(([recipient, raw], i) => ({
    subject: 'troupe.mail.bounce',
    data: Buffer.from(raw),
    headers: encodeMail(envelopeTo([recipient], { trace: `t${i}` }), []),
  }));
  return messageOf(joinMails(messages), seq);
}

function envelopeTo(
  recipients: readonly string[],
  { sender = JANE, trace = 't1' }: MailOptions,
): Envelope {
  return {
    sender,
    recipients: recipients.map(address),
    smtputf8: false,
    eightBit: false,
    receivedAt: 1_000,
    peer: '192.0.2.1',
    helo: 'mx.example.org',
    trace,
  };
}

function messageOf(
  { data, headers = {} }: Pick<BatchMessage, 'data' | 'headers'>,
  seq: number,
): Delivery {
  return {
    subject: 'troupe.mail.post',
    seq,
    deliveries: 1,
    storedAt: 1_000,
    data,
    header: (name) => headers[name] ?? '',
    ack: () => expect.unreachable('a runner never acks'),
    working: () => {},
    giveBack: () => expect.unreachable('a runner never gives back'),
  };
}

/** A return path or leave address of member `member`'s copy of post 3 of DEV. */
export const machine = (kind: 'b' | 'u', member: number, secret = SECRET): Address =>
  makeMachineAddress(kind, { key: DEV.key, member, post: 3 }, secret, 'lists.example');

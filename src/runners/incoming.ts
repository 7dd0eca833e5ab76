/**
 * Incoming runner: finds out what a mail means, and tells each list it is for.
 *
 *   takes   troupe.mail.<kind>           raw mail and its envelope, from the edge
 *   asks    troupe.ask.<slot>.<key>      one small command for each list it went to; what is not answered
 *   gives   troupe.mailbox.<slot>.<key>  is kept there (decision 0018)
 *           troupe.bounces.<slot>.<key>  what came back, as events
 *   parks   troupe.parked.command        mail for robots that are not built yet, whole
 *           troupe.parked.bounce         what came to a bounce address and is not understood
 *           troupe.parked.unknown        mail for what was there at RCPT and is no more
 *
 * I1. Every recipient of a mail ends as a command, in the park, or, only for a loop, in the log.
 * I2. The same mail sent again gives a post the same command id: a list takes it once.
 * I3. What cannot be read is held by its list, never dropped; only a bug parks it.
 *
 * Nothing is looked up in DNS: the log and the hold say `authentication: none`, as RFC 8601 §2.2 does of what was not checked.
 */

import type { Command } from '../../actors/protocol.ts';
import { unreachable } from '../assert.ts';
import { MailError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Address } from '../mail/address.ts';
import type { Bounce } from '../mail/bounce-event.ts';
import {
  type ClassifyNeeds,
  classify,
  type KnownList,
  type ListLookup,
  listNamesOf,
  type Meaning,
} from '../mail/classify.ts';
import type { Recognised } from '../mail/dsn.ts';
import type { Envelope, MailRef } from '../mail/envelope.ts';
import { robotAddress } from '../mail/list-headers.ts';
import { type Loop, loopOfAny, loopOfPost } from '../mail/loops.ts';
import { type ReadMail, readMail, summarise } from '../mail/summary.ts';
import type {
  BouncesOut,
  Delivery,
  MailboxOut,
  MailStore,
  Message,
  Meter,
  Parked,
  RouteOf,
} from '../world.ts';
import { bounceOf, withRoute } from './incoming-bounce.ts';
import { complainedOf } from './incoming-complaint.ts';
import { type Disposal, stackOf } from './runner.ts';
import type { Throttle } from './throttle.ts';

/** A list's loops are logged at most so often; each is counted. */
export const LOOP_LOG_EVERY_MS = 60_000;

export type IncomingNeeds = {
  /** The directory as this process mirrors it. */
  readonly lists: ListLookup;
  /** From the leader: asked before a recipient is taken for unknown, as a mirror may lag. */
  findAtLeader(address: Address): Promise<KnownList | null>;
  isOurs(domain: string): boolean;
  readonly secrets: { all(): readonly Uint8Array[] };
  /** Takes a message of MAIL apart: at least one mail. Throws where it is not ours. */
  mailsOf(message: Message): readonly MailOfMessage[];
  readonly read: MailStore['read'];
  /** Resolves when one of several mails may be looked at: all at once would take long. */
  turn(): Promise<void>;
  readonly mailbox: MailboxOut<Command>;
  readonly bounces: BouncesOut;
  readonly routeOf: RouteOf;
  /** What a message that came to a bounce address says. */
  recognise(raw: Uint8Array): Recognised;
  readonly park: Parked['put'];
  /** Made with {@link LOOP_LOG_EVERY_MS}. */
  readonly mayLogLoop: Throttle;
  readonly log: Log;
  readonly meter: Meter;
};

/** One of the mails of a message. */
export type MailOfMessage = {
  readonly envelope: Envelope;
  /** The whole mail where there are no parts. */
  readonly lastPiece: Uint8Array;
  readonly parts: readonly number[];
  /** Which of them it is; null where it has the message to itself: only then it can be read again. */
  readonly place: number | null;
  /** The message that it would have to itself. */
  readonly alone: Message;
};

/** What was made of one mail before its recipients are looked at one by one. */
type Mail = {
  readonly envelope: Envelope;
  readonly ref: MailRef;
  readonly place: number | null;
  readonly raw: Uint8Array;
  readonly read: ReadMail;
};

type Where = 'command' | 'bounce' | 'unknown' | 'incoming';
/** Mail that is set aside: where, and why. */
type Aside = { readonly where: Where; readonly why: string };

/** Of these a list keeps where the mail is: it must have a message to itself. */
const REFERRED_TO: readonly Meaning['kind'][] = ['post', 'owner', 'leave-token'];
/** A list with the name of a bounce address was made since RCPT. Replayed, it has one. */
const BY_NOW_ANOTHERS = 'its address is a list by now; `troupe queue replay` takes it there';

/**
 * Tells each list that a mail of the message went to. Transient MailErrors are thrown on, and all of them come again: every
 * command and every event has an id that makes it count once. Nothing is set aside before all are told.
 */
export async function dispose(delivery: Delivery, needs: IncomingNeeds): Promise<Disposal> {
  const mails = needs.mailsOf(delivery);
  const told = await Promise.allSettled(
    mails.map(async (mail) => {
      if (mail.place !== null) await needs.turn();
      return await tellAll(mail, needs);
    }),
  );
  const asides = told.map((one) => (one.status === 'fulfilled' ? one.value : bugOf(one.reason)));
  for (const [i, { alone }] of mails.entries()) await setAside(alone, asides[i] ?? [], needs);
  return { kind: 'done' };
}

/** Only the mail that a bug shows in is parked for it. Throws on what is transient. */
function bugOf(error: unknown): readonly Aside[] {
  if (error instanceof MailError && error.isTransient) throw error;
  return [{ where: 'incoming', why: stackOf(error) }];
}

/**
 * What `park` of a runner is for messages of MAIL: each of their mails is set aside alone, so that the one that kills its process
 * can be told from those beside it.
 */
export function parkAlone(park: Parked['put'], mailsOf: IncomingNeeds['mailsOf']): Parked['put'] {
  return async (where, message, why) => {
    for (const alone of alonesOf(message, mailsOf)) await park(where, alone, why);
  };
}

function alonesOf(message: Message, mailsOf: IncomingNeeds['mailsOf']): readonly Message[] {
  try {
    return mailsOf(message).map(({ alone }) => alone);
  } catch {
    return [message]; // Not ours, and kept as it is.
  }
}

/** Gives what is to be set aside of it. */
async function tellAll(
  { envelope, lastPiece, parts, place, alone }: MailOfMessage,
  needs: IncomingNeeds,
): Promise<readonly Aside[]> {
  const ref: MailRef = { in: 'mail', seq: alone.seq, ...(parts.length > 0 && { parts }) };
  const meanings = await meaningsOf(envelope.recipients, needs);
  if (place !== null && meanings.some(({ kind }) => REFERRED_TO.includes(kind))) {
    return [{ where: 'bounce', why: BY_NOW_ANOTHERS }];
  }
  const isRead = meanings.some(({ kind }) => kind === 'post' || kind === 'owner');
  const isWanted = isRead || meanings.some(({ kind }) => kind === 'bounce');
  const raw = isWanted && parts.length > 0 ? await needs.read(ref) : lastPiece;
  if (raw === null) return [{ where: 'incoming', why: 'parts of this mail are gone from MAIL' }];
  const mail: Mail = {
    envelope,
    ref,
    place,
    raw,
    read: readMail(isRead ? raw : new Uint8Array(0)),
  };
  const asides: Aside[] = [];
  for (const meaning of withComplaint(meanings, raw, needs)) {
    const aside = await tell(meaning, mail, needs);
    if (aside !== null) asides.push(aside);
  }
  return asides;
}

/** What each recipient means, each meaning once, however many names of it were given. */
async function meaningsOf(
  recipients: readonly Address[],
  needs: IncomingNeeds,
): Promise<readonly Meaning[]> {
  const meanings = new Map<string, Meaning>();
  for (const recipient of recipients) {
    const meaning = await meaningOf(recipient, needs);
    const key = 'list' in meaning ? meaning.list.key : '';
    const tail = 'member' in meaning ? `${meaning.member} ${meaning.post}` : '';
    meanings.set(`${meaning.kind} ${key} ${tail}`, meaning);
  }
  return [...meanings.values()];
}

async function meaningOf(address: Address, needs: IncomingNeeds): Promise<Meaning> {
  const known: ClassifyNeeds = {
    lists: needs.lists,
    secrets: needs.secrets.all(),
    isOurs: needs.isOurs,
  };
  const meaning = classify(address, known);
  if (meaning.kind !== 'unknown') return meaning;
  for (const name of listNamesOf(address)) {
    const list = await needs.findAtLeader(name);
    if (list === null) continue;
    const { byKey, keysByPrefix } = needs.lists;
    const find = (asked: Address) => (asked === name ? list : null);
    return classify(address, { ...known, lists: { find, byKey, keysByPrefix } });
  }
  return meaning;
}

/** A complaint is that of the copy which it returns, whatever address it came to; else all is as it was addressed. */
function withComplaint(
  meanings: readonly Meaning[],
  raw: Uint8Array,
  needs: IncomingNeeds,
): readonly Meaning[] {
  const isKnown = meanings.some((meaning) => meaning.kind === 'bounce' && meaning.member !== null);
  if (isKnown) return meanings;
  const known = { lists: needs.lists, secrets: needs.secrets.all(), isOurs: needs.isOurs };
  const complained = complainedOf(raw, (address) => classify(address, known));
  if (complained === null || needs.recognise(raw).kind !== 'complaint') return meanings;
  return [...meanings.filter(({ kind }) => kind !== 'bounce'), complained];
}

/**
 * Gives the list its command; or says where the mail is to be set aside, where nothing is built to
 * take it.
 */
async function tell(meaning: Meaning, mail: Mail, needs: IncomingNeeds): Promise<Aside | null> {
  switch (meaning.kind) {
    case 'post':
      return tellPost(meaning.list, mail, needs);
    case 'owner':
      return tellOwners(meaning.list, mail, needs);
    case 'leave-token':
      return tellLeave(meaning.list, meaning.member, mail, needs);
    case 'bounce':
      return tellBounce(meaning, mail, needs);
    case 'command':
      return { where: 'command', why: `not built yet: the robot ${meaning.verb}` };
    case 'confirm-token':
      return { where: 'command', why: 'not built yet: confirmations' };
    case 'wrong-mac':
      return { where: 'unknown', why: 'a machine address whose MAC no secret gives' };
    case 'unknown':
      return { where: 'unknown', why: 'no such list' };
    default:
      return unreachable(meaning);
  }
}

async function tellPost(list: KnownList, mail: Mail, needs: IncomingNeeds): Promise<null> {
  const loop = loopOfPost(mail.read.header, list.address);
  if (loop !== null) return noteLoop(loop, list, mail, needs);
  const post = summarise(mail.read, mail.raw, mail.envelope, mail.ref, list);
  await needs.mailbox.put(list.key, { id: post.id, command: { type: 'post', post } });
  note('post', list, mail, needs, { post: post.id, authentication: post.authentication });
  return null;
}

async function tellOwners(list: KnownList, mail: Mail, needs: IncomingNeeds): Promise<null> {
  const loop = loopOfAny(mail.read.header, robotAddress(list.address, 'owner'));
  if (loop !== null) return noteLoop(loop, list, mail, needs);
  const summary = summarise(mail.read, mail.raw, mail.envelope, mail.ref, list);
  // A mail may go to a list and to its owners: two commands, two ids.
  const { again } = mail.envelope;
  const id = `o.${summary.id}${again === undefined ? '' : `.${again}`}`;
  await needs.mailbox.put(list.key, { id, command: { type: 'owner-mail', mail: summary } });
  note('owner', list, mail, needs, { post: summary.id });
  return null;
}

/** What came back becomes events, once for each member or address (B1). */
async function tellBounce(
  meaning: Extract<Meaning, { kind: 'bounce' }>,
  { raw, ref, place, envelope }: Mail,
  needs: IncomingNeeds,
): Promise<Aside | null> {
  const { list } = meaning;
  const id = place === null ? `${ref.seq}` : `${ref.seq}-${place}`;
  const mail = { raw, at: envelope.receivedAt, id };
  const became = bounceOf(meaning, needs.recognise(raw), mail);
  if (became.kind === 'not-understood') return { where: 'bounce', why: became.why };
  if (became.kind === 'ignored') {
    needs.meter.count('incoming_told', { what: became.what });
    return null;
  }
  const put = async (event: Bounce): Promise<void> =>
    needs.bounces.put(list.key, await withRoute(event, list.key, needs.routeOf));
  await Promise.all(became.events.map(put));
  needs.meter.count('incoming_told', { what: 'bounce' });
  return null;
}

async function tellLeave(
  list: KnownList,
  member: number,
  mail: Mail,
  needs: IncomingNeeds,
): Promise<null> {
  await needs.mailbox.put(list.key, {
    id: `u.${member}.${mail.ref.seq}`,
    command: { type: 'remove-member', who: { number: member }, by: { kind: 'token', member } },
  });
  note('leave', list, mail, needs, { member });
  return null;
}

function note(
  what: string,
  list: KnownList,
  mail: Mail,
  { log, meter }: IncomingNeeds,
  fields: Readonly<Record<string, unknown>>,
): void {
  meter.count('incoming_told', { what });
  const { trace } = mail.envelope;
  log.info({ runner: 'incoming', trace, list: list.address, ...fields }, `told the list: ${what}`);
}

/** A loop is discarded: to answer it would feed it. */
function noteLoop(loop: Loop, list: KnownList, mail: Mail, needs: IncomingNeeds): null {
  needs.meter.count('incoming_loops', { loop });
  if (needs.mayLogLoop(list.key)) {
    const { trace, sender } = mail.envelope;
    const fields = { runner: 'incoming', trace, list: list.address, sender, loop };
    needs.log.info(fields, 'discarded a mail that loops');
  }
  return null;
}

/** Once for each place, with every reason. */
async function setAside(
  alone: Message,
  asides: readonly Aside[],
  { park, meter, log }: IncomingNeeds,
): Promise<void> {
  for (const where of new Set(asides.map((aside) => aside.where))) {
    const whys = asides.filter((aside) => aside.where === where).map((aside) => aside.why);
    await park(where, alone, [...new Set(whys)].join('; '));
    meter.count('incoming_parked', { where });
    if (where === 'incoming') log.error({ runner: 'incoming', seq: alone.seq, whys }, 'parked');
  }
}

/**
 * What each effect does to the world. Each may be done twice: the ids it uses follow from the list and the fact, so the second
 * time the world has it already.
 */
import { NOTICE_EVERY_MS } from '../../actors/list/posting.ts';
import type { Effect, PostSummary } from '../../actors/protocol.ts';
import { assert, unreachable } from '../assert.ts';
import { MailError } from '../errors.ts';
import type { Address } from '../mail/address.ts';
import type { Chunk } from '../mail/chunk.ts';
import type { MailRef } from '../mail/envelope.ts';
import { robotAddress } from '../mail/list-headers.ts';
import type { ListKey } from '../mail/list-key.ts';
import { heldNotice, rejectionNotice } from '../mail/notice.ts';
import { decodeMail, encodeMail } from '../nats/mail-message.ts';
import { openDraft } from '../store/list-rows.ts';
import { chunksAgain, fanOut, plainRecipe } from './fanout.ts';
import type { Doing, Perform } from './outbox.ts';
import { inline, putPlain } from './plain-mail.ts';
import { performTrouble } from './trouble-effects.ts';
import type { HostWorld } from './world.ts';

/** Effects of all lists under way at once; each may hold a mail in memory. */
const EFFECTS_MAX = 32;
/** Fan-outs of all lists that publish at once; the others wait their turn. */
const FANOUTS_MAX = 4;

/** The copy of a held mail that HELD had no room for is tried again: first after 5 minutes, then twice as long, up to 4 hours. */
const KEEP_MS_MIN = 5 * 60_000;
const KEEP_MS_MAX = 4 * 3_600_000;

/** Makes the performer of effects; what it holds is only its two gates. */
export function createPerform(world: HostWorld): Perform {
  const gate = createGate(EFFECTS_MAX);
  const turnstile = createGate(FANOUTS_MAX);
  return async (key, effect, { at, from, isAgain, progress }) => {
    const address = addressOf(world, key);
    if (effect.type !== 'deliver')
      return gate(() => perform(world, key, address, effect, { at, isAgain }));
    const mail = await sourceOf(world, key, effect.hold, effect.post.mail);
    // The turnstile lets one batch of this list through, then the next list: none waits for a whole fan-out.
    const outgoing = {
      put: (chunks: readonly Chunk[]) => turnstile(() => world.outgoing.put(chunks)),
    };
    return fanOut({ ...world, outgoing }, key, address, mail, effect, from, progress);
  };
}

async function perform(
  world: HostWorld,
  key: ListKey,
  list: Address,
  effect: Exclude<Effect, { type: 'deliver' }>,
  { at, isAgain }: Pick<Doing, 'at' | 'isAgain'>,
): Promise<void> {
  switch (effect.type) {
    case 'publish-directory':
      return world.publishDirectory(effect.address, key, effect.state, effect.maxMessageBytes);
    case 'archive': {
      const { number, post, hold } = effect;
      const mail = await sourceOf(world, key, hold, post.mail);
      const note = { number, at: post.receivedAt, messageId: post.messageId, trace: post.trace };
      if (await keep(world, { where: 'archive', isAgain }, key, `a${number}`, mail, note)) return;
      throw new MailError(451, '4.3.0', 'the stored mail cannot be read');
    }
    case 'keep-held':
      return keepHeld(world, key, effect, isAgain);
    case 'drop-held': {
      const held = await world.mail.find('held', key, `h${effect.hold}`);
      return held === null ? undefined : world.mail.drop(held);
    }
    case 'notify-moderators':
    case 'notify-rejection':
      return notify(world, key, list, effect);
    case 'set-timer': {
      const asked = {
        id: `moderators.${effect.due}`,
        command: { type: 'tell-moderators', due: effect.due },
      } as const;
      // Each due time has its own: an old effect done again must not replace the timer of a new one.
      const id = `${key}.moderators.${effect.due}`;
      // The list's time may be ahead of ours, where a node before had a fast clock: nobody waits for longer than was meant.
      const at = Math.min(effect.due, world.clock.now() + NOTICE_EVERY_MS);
      return world.later.put(id, at, { to: 'mailbox', key, asked });
    }
    case 'order-post': {
      const post = String(effect.number);
      await world.results.order(key, post, { order: effect.order, n: at.n, index: at.index });
      // What waits is to see it now: it goes on, or is told of as cancelled.
      return effect.order === 'pause' ? undefined : world.later.hasten(`${key}.${post}`);
    }
    case 'deliver-again': {
      const post = openDraft(world.rows, key, 0).postRow(effect.number);
      assert(post !== null, 'a post that is sent again was accepted once');
      const copy = await world.mail.find('archive', key, `a${effect.number}`);
      const mail = copy ?? (await sourceOf(world, key, post.hold, post.mail));
      return world.outgoing.put(chunksAgain(world, key, list, mail, post, effect));
    }
    case 'park-owner-mail':
      return parkOwnerMail(world, list, effect.mail);
    case 'forward': {
      const { mail, to } = effect;
      const { id, trace, smtputf8, received } = mail;
      const recipe = { ...plainRecipe(world.web(), list, 'forward'), received };
      const post = `o${id.slice(0, 20)}`;
      return putPlain(world, { key, post, recipe, mail: mail.mail, to, trace, smtputf8 });
    }
    case 'tell-bounces':
    case 'tell-suspects':
    case 'send-probe':
    case 'send-warning':
    case 'notify-owners':
    case 'notify-storm':
    case 'set-owners-timer':
      return performTrouble(world, key, list, effect);
    default:
      return unreachable(effect);
  }
}

/** A held post is sent and archived from its own copy; any other from where it came in. */
async function sourceOf(
  world: HostWorld,
  key: ListKey,
  hold: number | null,
  mail: MailRef,
): Promise<MailRef> {
  if (hold === null) return mail;
  return (await world.mail.find('held', key, `h${hold}`)) ?? mail;
}

/**
 * Copies the mail of a hold to HELD. Where that is full, the mail stays in MAIL and the copy is tried again later, so that the
 * effects behind it go on: who fills HELD stops no list's posts.
 */
async function keepHeld(
  world: HostWorld,
  key: ListKey,
  { hold, post, tries = 0 }: Extract<Effect, { type: 'keep-held' }>,
  isAgain: boolean,
): Promise<void> {
  const note = { hold, trace: post.trace };
  const copy = { where: 'held', isAgain: isAgain || tries > 0 } as const;
  try {
    if (await keep(world, copy, key, `h${hold}`, post.mail, note)) return;
    world.log.error({ list: key, hold, tries }, 'a held mail is gone from MAIL; it cannot be kept');
  } catch (error) {
    if (!(error instanceof MailError && error.code === 452)) throw error;
    const again = { hold, tries: tries + 1 };
    const due = world.clock.now() + Math.min(KEEP_MS_MIN * 2 ** tries, KEEP_MS_MAX);
    const command = { type: 'keep-hold', ...again } as const;
    const asked = { id: `keep.${hold}.${again.tries}`, command };
    await world.later.put(`${key}.keep.${hold}`, due, { to: 'mailbox', key, asked });
    world.log.error({ list: key, ...again, due }, 'HELD is full; a held mail waits in MAIL');
    world.meter.count('held_put_off');
  }
}

/** Keeps a copy once: the store knows an id for two minutes, and what may be older is looked for. False: the mail is gone. */
async function keep(
  world: HostWorld,
  copy: { readonly where: 'held' | 'archive'; readonly isAgain: boolean },
  key: ListKey,
  id: string,
  mail: MailRef,
  note: unknown,
): Promise<boolean> {
  const { where, isAgain } = copy;
  if (isAgain && (await world.mail.find(where, key, id)) !== null) return true;
  return (await world.mail.keep(where, key, id, mail, note)) !== null;
}

/** Replayed, it goes to the owners of this list alone, and as a mail that the list has not seen. */
async function parkOwnerMail(world: HostWorld, list: Address, mail: PostSummary): Promise<void> {
  const message = await world.mail.message(mail.mail);
  const { trace } = mail;
  if (message === null) return world.log.error({ list, trace }, 'a mail to the owners is gone');
  const { envelope, parts } = decodeMail(message);
  const recipients = [robotAddress(list, 'owner')];
  const again = (envelope.again ?? 0) + 1;
  const headers = encodeMail({ ...envelope, recipients, again }, parts);
  const parked = { ...message, header: (name: string): string => headers[name] ?? '' };
  await world.parked.put('owner', parked, `${list} has no owner`);
  world.log.warn({ list, trace }, 'parked a mail to the owners: the list has none');
}

/** Mail we write: from the list's owner address, with the null sender, class `notice`. */
async function notify(
  world: HostWorld,
  key: ListKey,
  list: Address,
  effect: Extract<Effect, { type: 'notify-moderators' | 'notify-rejection' }>,
): Promise<void> {
  const { displayName } = openDraft(world.rows, key, 0).state().settings;
  const isRejection = effect.type === 'notify-rejection';
  const post = isRejection ? `r${effect.hold}` : `n${effect.newest}`;
  const about = { list: { list, displayName }, date: effect.at, seed: `${key}.${post}` };
  const bytes = isRejection
    ? rejectionNotice({ ...about, ...effect })
    : heldNotice({ ...about, to: robotAddress(list, 'owner'), holds: effect.held });
  const mail = inline(bytes);
  const recipe = plainRecipe(world.web(), list, 'notice');
  const to = isRejection ? [effect.to] : effect.to;
  return putPlain(world, { key, post, recipe, mail, to, trace: post, smtputf8: false });
}

function addressOf(world: HostWorld, key: ListKey): Address {
  const { address } = openDraft(world.rows, key, 0).state();
  assert(address !== '', 'a list with effects has an address');
  return address;
}

/** Lets at most `max` run at once, the others in the order they came. */
function createGate(max: number): <T>(run: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (run) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next(); // The place is handed on, so `running` stays.
    }
  };
}

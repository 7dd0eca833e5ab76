/**
 * What each effect does to the world. Each may be done twice: the ids it uses follow from the list and the fact, so the second
 * time the world has it already.
 */
import { NOTICE_EVERY_MS } from '../../actors/list/posting.ts';
import type { Effect } from '../../actors/protocol.ts';
import { assert, unreachable } from '../assert.ts';
import { MailError } from '../errors.ts';
import type { Address } from '../mail/address.ts';
import type { Chunk } from '../mail/chunk.ts';
import type { MailRef } from '../mail/envelope.ts';
import { robotAddress } from '../mail/list-headers.ts';
import type { ListKey } from '../mail/list-key.ts';
import { heldNotice, rejectionNotice } from '../mail/notice.ts';
import { openDraft } from '../store/list-rows.ts';
import { chunksAgain, fanOut, plainRecipe } from './fanout.ts';
import type { Perform } from './outbox.ts';
import { inline, putPlain } from './plain-mail.ts';
import { performTrouble } from './trouble-effects.ts';
import type { HostWorld } from './world.ts';

/** Effects of all lists under way at once; each may hold a mail in memory. */
const EFFECTS_MAX = 32;
/** Fan-outs of all lists that publish at once; the others wait their turn. */
const FANOUTS_MAX = 4;

/** Makes the performer of effects; what it holds is only its two gates. */
export function createPerform(world: HostWorld): Perform {
  const gate = createGate(EFFECTS_MAX);
  const turnstile = createGate(FANOUTS_MAX);
  return async (key, effect, { from, isAgain, progress }) => {
    const address = addressOf(world, key);
    if (effect.type !== 'deliver') return gate(() => perform(world, key, address, effect, isAgain));
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
  isAgain: boolean,
): Promise<void> {
  switch (effect.type) {
    case 'publish-directory':
      return world.publishDirectory(effect.address, key, effect.state, effect.maxMessageBytes);
    case 'archive': {
      const { number, post, hold } = effect;
      const mail = await sourceOf(world, key, hold, post.mail);
      const note = { number, at: post.receivedAt, messageId: post.messageId, trace: post.trace };
      return keep(world, { where: 'archive', isAgain }, key, `a${number}`, mail, note);
    }
    case 'keep-held': {
      const { hold, post } = effect;
      const note = { hold, trace: post.trace };
      return keep(world, { where: 'held', isAgain }, key, `h${hold}`, post.mail, note);
    }
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
      await world.results.order(key, post, effect.order);
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

/** Keeps a copy once: the store knows an id for two minutes, and what may be older is looked for. */
async function keep(
  world: HostWorld,
  copy: { readonly where: 'held' | 'archive'; readonly isAgain: boolean },
  key: ListKey,
  id: string,
  mail: MailRef,
  note: unknown,
): Promise<void> {
  const { where, isAgain } = copy;
  if (isAgain && (await world.mail.find(where, key, id)) !== null) return;
  if ((await world.mail.keep(where, key, id, mail, note)) !== null) return;
  throw new MailError(451, '4.3.0', 'the stored mail cannot be read');
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

/** What the list does about members whose mail came back: probes, warnings, notices, and its word to the bounce actor. */
import { OWNERS_EVERY_MS } from '../../actors/list/troubles.ts';
import type { Effect } from '../../actors/protocol.ts';
import { unreachable } from '../assert.ts';
import type { Address } from '../mail/address.ts';
import { PROBES_FROM } from '../mail/bounce-event.ts';
import { probeNotice, stormNotice, troubleNotice, warningNotice } from '../mail/bounce-notices.ts';
import { robotAddress } from '../mail/list-headers.ts';
import type { ListKey } from '../mail/list-key.ts';
import { makeToken } from '../mail/machine-address.ts';
import { openDraft } from '../store/list-rows.ts';
import { plainRecipe } from './fanout.ts';
import { inline, putNumbered, putPlain } from './plain-mail.ts';
import type { HostWorld } from './world.ts';

export type TroubleEffect = Extract<
  Effect,
  {
    type:
      | 'tell-bounces'
      | 'tell-suspects'
      | 'send-probe'
      | 'send-warning'
      | 'notify-owners'
      | 'notify-storm'
      | 'set-owners-timer';
  }
>;

/** Each may be done twice: its ids follow from the list and the fact. */
export function performTrouble(
  world: HostWorld,
  key: ListKey,
  list: Address,
  effect: TroubleEffect,
): Promise<void> {
  switch (effect.type) {
    case 'tell-bounces':
      return world.bounces.put(key, effect.event);
    case 'tell-suspects':
      return tellSuspects(world, key, list, effect);
    case 'send-probe':
    case 'send-warning':
      return write(world, key, list, effect);
    case 'notify-owners':
    case 'notify-storm':
      return tellOwners(world, key, list, effect);
    case 'set-owners-timer': {
      const { due } = effect;
      const asked = { id: `owners.${due}`, command: { type: 'tell-owners', due } } as const;
      const at = Math.min(due, world.clock.now() + OWNERS_EVERY_MS); // As for moderators (effects.ts).
      return world.later.put(`${key}.owners.${due}`, at, { to: 'mailbox', key, asked });
    }
    default:
      return unreachable(effect);
  }
}

/** To the member: with a link of their own; a probe also with a return path of its own. */
function write(
  world: HostWorld,
  key: ListKey,
  list: Address,
  effect: Extract<TroubleEffect, { type: 'send-probe' | 'send-warning' }>,
): Promise<void> {
  const { number, address, at } = effect;
  const isProbe = effect.type === 'send-probe';
  const post = isProbe ? `p${number}x${effect.probe}` : `w${number}x${effect.warning}x${at}`;
  const postNumber = isProbe ? PROBES_FROM + effect.probe : 0;
  const token = makeToken('d', { key, member: number, post: postNumber }, world.secret());
  const link = `${world.web()}/d/${token}`;
  const about = { list: nameOf(world, key, list), to: address, date: at, seed: `${key}.${post}` };
  const bytes = isProbe
    ? probeNotice({ ...about, link, cause: effect.cause })
    : warningNotice({ ...about, ...effect, link });
  const recipe = { ...plainRecipe(world.web(), list, isProbe ? 'probe' : 'notice'), postNumber };
  const chunk = { key, post, recipe, mail: inline(bytes), trace: post, smtputf8: false };
  return putNumbered(world, { ...chunk, to: [[number, address]] });
}

async function tellSuspects(
  world: HostWorld,
  key: ListKey,
  list: Address,
  { address, dead }: Extract<TroubleEffect, { type: 'tell-suspects' }>,
): Promise<void> {
  if (dead === null) return world.suspects.remove(address);
  if (!openDraft(world.rows, key, 0).state().settings.bounceSuspects) return;
  if (await world.suspects.add({ address, list, key, ...dead })) return;
  world.log.warn({ list: key }, 'suspects: no room; other lists do not hear of a dead address');
}

function tellOwners(
  world: HostWorld,
  key: ListKey,
  list: Address,
  effect: Extract<TroubleEffect, { type: 'notify-owners' | 'notify-storm' }>,
): Promise<void> {
  const { at, to } = effect;
  const isStorm = effect.type === 'notify-storm';
  const post = isStorm ? `s${effect.storm.post}` : `t${at}`;
  const about = {
    ...{ list: nameOf(world, key, list), to: robotAddress(list, 'owner'), date: at },
    seed: `${key}.${post}`,
  };
  const bytes = isStorm
    ? stormNotice({ ...about, ...effect.storm })
    : troubleNotice({ ...about, disabled: effect.disabled, removed: effect.removed });
  const recipe = plainRecipe(world.web(), list, 'notice');
  const chunk = { key, post, recipe, mail: inline(bytes), trace: post, smtputf8: false };
  return putPlain(world, { ...chunk, to });
}

function nameOf(world: HostWorld, key: ListKey, list: Address) {
  return { list, displayName: openDraft(world.rows, key, 0).state().settings.displayName };
}

/** The MTAs of a simulated world: they post to lists, and send again what was not answered 250. */
import { createHash } from 'node:crypto';
import type { Address } from '../../src/mail/address.ts';
import type { Envelope, MailKind } from '../../src/mail/envelope.ts';
import {
  AGAIN_MS,
  GIVES_UP,
  next,
  pause,
  type Sent,
  type SimList,
  type State,
} from './client-asks.ts';
import type { SimNode } from './world.ts';

/** How long a client waits for an answer. */
export const MAIL_MS_MAX = 8_000;

/** One that runs now; null while none does. */
export function anyNode(state: State): SimNode | null {
  const { world, chance } = state;
  const up = world.nodes.filter(({ booted, life }) => booted !== null && life?.isAlive());
  return up.length === 0 ? null : chance.pick(up);
}

/** A mail to a list or to its owners; resolves when it was answered 250 or its client gave up. */
export async function post(state: State, list: SimList, kind: 'post' | 'owner'): Promise<void> {
  const { world, chance, lists, mails } = state;
  const { bus, oracle } = world;
  const words = next(state, 'words-');
  const isStranger = chance.is(0.25);
  const from = isStranger ? (`stranger@elsewhere.example` as Address) : chance.pick(list.people);
  const isCrossPost = kind === 'post' && chance.is(0.1);
  const to = isCrossPost ? [...new Set([list, chance.pick(lists)])] : [list];
  const robot = kind === 'owner' ? '-owner' : '';
  const raw = Buffer.from(
    `From: ${from}\r\nTo: ${list.address}\r\nMessage-ID: <${words}@example.org>\r\nSubject: ${words}\r\n\r\nThis is ${words}.\r\n`,
  );
  const ids = to.map(({ key }) => {
    const id = createHash('sha256').update(`${from}\0${key}\0`).update(raw).digest('hex');
    return { key, id: kind === 'owner' ? `o.${id}` : id };
  });
  for (const { key, id } of ids) oracle.sent(key, id, words);
  const mail: Sent = { kind, ids, isAcked: false };
  mails.push(mail);
  const envelope: Envelope = {
    ...{ sender: from, smtputf8: false, eightBit: false, peer: '', helo: '', trace: words },
    recipients: to.map(({ address }) => address.replace('@', `${robot}@`) as Address),
    receivedAt: bus.clock.now(),
  };
  await deliver(state, mail, raw, envelope);
}

async function deliver(
  state: State,
  mail: Sent,
  raw: Uint8Array,
  envelope: Envelope,
): Promise<void> {
  const { chance } = state;
  state.pending += 1;
  const tries = chance.is(GIVES_UP) ? 1 : Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < tries && !mail.isAcked; attempt++) {
    const node = anyNode(state);
    if (node !== null && (await trySend(state, node, mail.kind, raw, envelope)))
      mail.isAcked = true;
    else await pause(state, chance.between(...AGAIN_MS));
  }
  state.pending -= 1;
}

/** One SMTP transaction: true if the client saw the 250. */
function trySend(
  state: State,
  { life, booted }: SimNode,
  kind: MailKind,
  raw: Uint8Array,
  envelope: Envelope,
): Promise<boolean> {
  const { world, chance } = state;
  const { timeline } = world;
  return new Promise((resolve) => {
    if (life === null || booted === null) return resolve(false);
    const off = timeline.after(MAIL_MS_MAX, '', () => resolve(false));
    const pieces = async function* () {
      yield raw;
    };
    life.later(chance.between(0.5, 5), '', () => {
      booted.accept({ size: raw.byteLength, pieces }, [{ kind, envelope }]).then(
        () =>
          life.later(chance.between(0.5, 5), '250', () => {
            off();
            resolve(life.isAlive());
          }),
        () => resolve(false),
      );
    });
  });
}

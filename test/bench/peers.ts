/**
 * The same post to the same members through the same `smtp-sink`, sent by us and by Mailman 3, one after the other in the same
 * run: recipients a second, from the 250 to the last copy. Mailman is measured where Debian's package is installed; where it is
 * not, that is said, and its figure is null.
 */
import type { Mode } from '../../src/mail/chunk.ts';
import { until } from '../support/until.ts';
import { aside, type Bench, figure } from './bench.ts';
import { fanOut } from './fanout.ts';
import { sendPosts } from './load.ts';
import { type Mailman, missingMailman, startMailman } from './mailman.ts';
import { makeList, memberOf, openSite } from './site.ts';
import { type Sink, SMTP_TOOLS, startSink } from './tools.ts';

const BYTES = 4_096;
const CONNECTIONS = 5;
const WARM_UP_MEMBERS = 1_000;
/** 10,000 members took Mailman ten seconds in bulk and seven minutes one by one (peers.md), on a quiet machine. */
const SENT_MS_MAX = 30 * 60_000;

export const peers: Bench = {
  name: 'peers',
  what: 'one post to the same members, sent by us and by Mailman 3',
  peer: 'Mailman 3.3.8, 10,000 members: 1,078–1,192/s in bulk, 26–40/s one envelope each',
  flags: {
    members: { what: 'members of the list', default: 10_000 },
    mode: { what: 'envelopes of both', default: 'shared', choices: ['individual', 'shared'] },
  },
  says: [],
  columns: [
    figure('ours', 0),
    figure('mailman3', 0),
    figure('ratio', 1),
    aside('oursFirstMs'),
    aside('mailman3FirstMs'),
  ],
  tools: SMTP_TOOLS,
  async open(flags, scene) {
    const members = flags.number('members');
    const mode = flags.text('mode') as Mode;
    const sink = await startSink(scene);
    const bench = await openSite(scene, { sink, connections: CONNECTIONS });
    scene.say(`a list of ${members} members`);
    const list = await makeList(bench, 'large', { mode }, members);
    const warm = await makeList(bench, 'warm', { mode }, Math.min(members, WARM_UP_MEMBERS));
    await fanOut(bench, sink, warm.address, Math.min(members, WARM_UP_MEMBERS), mode);
    const missing = missingMailman();
    if (missing !== null) scene.say(`SKIPPED: ${missing}`);
    else scene.say('the same list on Mailman 3');
    const addresses = Array.from({ length: members }, (_, i) => memberOf(i + 1));
    const peer = missing === null ? await startMailman(scene, sink, addresses, mode) : null;
    return async () => {
      const us = await fanOut(bench, sink, list.address, members, mode);
      const them = peer === null ? NOT_MEASURED : await sendByMailman(peer, sink, members);
      const [ours, mailman3] = [us, them].map(({ lastMs }) => (members * 1_000) / lastMs);
      return {
        ...{ ours: ours ?? 0, mailman3: mailman3 ?? 0, ratio: them.lastMs / us.lastMs },
        ...{ oursFirstMs: us.firstMs, mailman3FirstMs: them.firstMs },
      };
    };
  },
};

type Times = { readonly firstMs: number; readonly lastMs: number };
/** JSON has null for it. */
const NOT_MEASURED: Times = { firstMs: Number.NaN, lastMs: Number.NaN };

/** From the 250 of LMTP to the first and to the last copy at the sink. */
async function sendByMailman(
  { list, lmtpPort, sentTo }: Mailman,
  sink: Sink,
  members: number,
): Promise<Times> {
  const watched = sink.watch();
  const load = { connections: 1, posts: 1, bytes: BYTES, lists: [list], sender: memberOf(1) };
  const sent = await sendPosts({ ...load, port: lmtpPort, greeting: 'LHLO' });
  const [id = ''] = sent.messageIds;
  const isThrough = () => (sentTo(id) === members ? true : null);
  await until('Mailman has sent to all members', isThrough, SENT_MS_MAX);
  watched.stop();
  const { firstAt, lastAt } = watched.now();
  return { firstMs: firstAt - sent.endedAt, lastMs: lastAt - sent.endedAt };
}

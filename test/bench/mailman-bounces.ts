/** What Mailman 3 makes of the same bounces in a second, while its runner is awake: it goes to sleep for two minutes in between. */
import { setTimeout as pause } from 'node:timers/promises';
import { dsnFrom } from '../support/dsns.ts';
import { freePort } from '../support/free-port.ts';
import { sendPosts } from './load.ts';
import { missingMailman, startMailman } from './mailman.ts';
import { createScene, type Scene } from './scene.ts';
import { memberOf } from './site.ts';

/** It takes a minute for them; and it may sleep two before. */
const DSNS = 200;
/** Members of its list at most: 138,000 were not in it after twenty minutes. */
const MEMBERS_MAX = 5_000;
const CONNECTIONS = 4;
const LOOK_MS = 200;
const FOLDED_MS_MAX = 15 * 60_000;

/** From the first bounce that it has registered to the last that it has scored; NaN, and said, where it is not installed. */
export async function bouncesOfMailman(scene: Scene, upTo: number): Promise<number> {
  const members = Math.min(upTo, MEMBERS_MAX);
  const missing = missingMailman();
  if (missing !== null) {
    scene.say(`SKIPPED: ${missing}`);
    return Number.NaN;
  }
  scene.say(`${DSNS} bounces to a list of ${members} members on Mailman 3`);
  // It is gone again before anything of ours is measured.
  const stage = createScene();
  scene.closing(stage.close);
  try {
    return await measure(stage, members);
  } finally {
    await stage.close();
  }
}

async function measure(stage: Scene, members: number): Promise<number> {
  const addresses = Array.from({ length: members }, (_, i) => memberOf(i + 1));
  const nowhere = { port: await freePort() };
  const mailman = await startMailman(stage, nowhere, addresses, 'individual');
  const paths = addresses
    .slice(0, DSNS)
    .map((to) => mailman.list.replace('@', `-bounces+${to.replace('@', '=')}@`));
  const load = { connections: CONNECTIONS, posts: paths.length, bytes: 0, lists: paths };
  const message = (i: number): Buffer => {
    const header = `To: ${paths[i]}\r\nMessage-ID: <${i}.dsn@mx.example>\r\n`;
    const dsn = dsnFrom({ to: addresses[i] ?? '' }).toString('latin1');
    return Buffer.from(`${header}${dsn.replace(/^Message-ID: .*\r\n/m, '')}.\r\n`, 'latin1');
  };
  await sendPosts({ ...load, port: mailman.lmtpPort, greeting: 'LHLO', sender: '', message });
  const deadline = performance.now() + FOLDED_MS_MAX;
  let firstAt: number | null = null;
  for (;;) {
    const { registered, scored } = mailman.bounces();
    if (registered > 0) firstAt ??= performance.now();
    if (scored >= paths.length) break;
    if (performance.now() > deadline) throw new Error(`Mailman has scored ${scored} bounces`);
    await pause(LOOK_MS);
  }
  return (paths.length * 1_000) / (performance.now() - (firstAt ?? 0));
}

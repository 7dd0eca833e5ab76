/**
 * Finds the running site, by configuration or by the note of the embedded server, and connects to
 * it. Apart from `site.ts`, so that what needs no connection loads no client.
 */
import { systemClock } from '../clock.ts';
import type { Config } from '../config.ts';
import { OperatorError, textOf } from '../errors.ts';
import { silentLog } from '../log.ts';
import { createAsker } from '../nats/ask.ts';
import { connect, type Nats } from '../nats/connect.ts';
import { createDirectory } from '../nats/directory.ts';
import { openKv } from '../nats/kv.ts';
import { createMailStore } from '../nats/mail-store.ts';
import { readNote } from '../nats/note.ts';
import { createPublisher } from '../nats/publisher.ts';
import type { Site } from './site.ts';

/** A site that does not answer within this is said to be away, ms. */
const CONNECT_MS_MAX = 3_000;
const REQUEST_MS_MAX = 5_000;
/** A server that has just come back knows of the other servers' nodes a moment later. */
const NOBODY_TRIES_MAX = 4;
const NOBODY_WAIT_MS = 400;
/** The client's code for a subject that nobody listens to. */
const NO_RESPONDERS = '503';

/** The id under which the effect `keep-held` keeps a held post's mail (src/host/effects.ts). */
const heldCopyId = (hold: number): string => `h${hold}`;

/** Connects to the running site. Throws OperatorError with the next step when there is none. */
export async function openSite(config: Config): Promise<Site> {
  const nats = await connectTo(config);
  try {
    return await siteOver(nats);
  } catch (error) {
    await nats.close(); // An open connection would keep the process from ending.
    throw error;
  }
}

async function siteOver(nats: Nats): Promise<Site> {
  const publisher = createPublisher(nats);
  const mail = createMailStore(nats, publisher);
  const directory = createDirectory(await openKv(nats, 'troupe_directory'));
  return {
    nats,
    asker: createAsker(nats, {}),
    directory,
    // The copy of its own first: the mail as it came in may have aged out.
    rawOf: async (list, { hold, post }) => {
      const copy = await mail.find('held', list.key, heldCopyId(hold));
      return await mail.read(copy ?? post.mail);
    },
    request: (subject, body, timeoutMs = REQUEST_MS_MAX, nextStep = '') =>
      requestJson(nats, subject, body, timeoutMs, nextStep),
    close: async () => {
      publisher.close();
      await nats.close();
    },
  };
}

async function connectTo(config: Config): Promise<Nats> {
  const { url, user, password } = await whereIsNats(config);
  try {
    return await connect({
      url,
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { password }),
      name: 'troupe cli',
      log: silentLog,
      timeoutMs: CONNECT_MS_MAX,
    });
  } catch (error) {
    if (config.nats.url !== undefined) throw error;
    throw notRunning(config, error);
  }
}

type Where = {
  readonly url: string;
  readonly user: string | undefined;
  readonly password: string | undefined;
};

async function whereIsNats(config: Config): Promise<Where> {
  const { url, user, password } = config.nats;
  if (url !== undefined) return { url, user, password };
  const note = await readNote(config.data);
  // Pid 0: it was stopped on purpose. A server that died is on its way back, and waited for.
  if (note === null || note.pid === 0) throw notRunning(config);
  return note;
}

function notRunning(config: Config, cause?: unknown): OperatorError {
  return new OperatorError(
    `no site is running on the data directory ${config.data}`,
    'Start it with `npm start`, or name its configuration with --config FILE.',
    cause,
  );
}

async function requestJson(
  nats: Nats,
  subject: string,
  body: unknown,
  timeoutMs: number,
  nextStep: string,
): Promise<unknown> {
  const bytes = body === undefined ? '' : JSON.stringify(body);
  for (let tries = 1; ; tries++) {
    try {
      const answer: unknown = (
        await nats.nc.request(subject, bytes, { timeout: timeoutMs })
      ).json();
      const problem = problemOf(answer);
      if (problem !== null) throw new OperatorError(problem, nextStep);
      return answer;
    } catch (error) {
      if (error instanceof OperatorError) throw error;
      const isNobody = (error as { code?: unknown }).code === NO_RESPONDERS;
      if (!isNobody || tries === NOBODY_TRIES_MAX) {
        throw new OperatorError(
          `no node of the site answers (${textOf(error)})`,
          'NATS runs but no node does: start one with `npm start`, then ask again.',
          error,
        );
      }
    }
    await systemClock.sleep(NOBODY_WAIT_MS);
  }
}

/** The text of an answer `{error: …}`; null for any other answer. */
function problemOf(answer: unknown): string | null {
  if (typeof answer !== 'object' || answer === null || !('error' in answer)) return null;
  const { error } = answer;
  if (typeof error === 'object' && error !== null && 'text' in error) return String(error.text);
  return typeof error === 'string' ? error : JSON.stringify(error);
}

/** `troupe delivery`: who got a post, who did not and why; and sending it again to those. */
import type { Refusal } from '../../actors/protocol.ts';
import { OperatorError } from '../errors.ts';
import type {
  DeliveryFailures,
  DeliveryReport,
  DeliveryStory,
  Failure,
} from '../nats/delivery-view.ts';
import type { DirectoryEntry } from '../nats/directory.ts';
import { inspectDelivery } from '../nats/subjects.ts';
import { type Context, DONE, type ExitCode, type Register } from './context.ts';
import { postNumberOf, stateOf } from './post.ts';
import { clean, printFields, printTable, timeText, toJson } from './print.ts';
import { addressFrom, command, findList, type Site } from './site.ts';

/** A report reads the results of all recipients. */
const ANSWER_MS_MAX = 30_000;
/** Failures listed at most; with --json and --resend all of them are meant. */
const LISTED_MAX = 200;
/** Characters of a reply beside others. */
const BRIEF_MAX = 160;

const REFUSED = 'See `troupe post ls LIST`.';

export const register: Register = (program, run) => {
  const delivery = program.command('delivery').description('what became of posts');
  delivery
    .command('show <list> <post> [address]')
    .description('a post: how many got it, wait or were refused, and why; or one recipient’s story')
    .action((list: string, post: string, address: string | undefined) =>
      run((c) => (address === undefined ? report(c, list, post) : story(c, list, post, address))),
    );
  delivery
    .command('failed <list> <post>')
    .description('who was refused for good, and why')
    .option('--resend', 'send the post again to those of them who are members')
    .action((list: string, post: string, flags: { resend?: boolean }) =>
      run((c) => failed(c, list, post, flags.resend === true)),
    );
};

const ask = async (site: Site, list: DirectoryEntry, body: unknown): Promise<unknown> =>
  await site.request(inspectDelivery(list.address), body, ANSWER_MS_MAX, REFUSED);

// ── show ──────────────────────────────────────────────────────────────────

async function report(context: Context, text: string, number: string): Promise<ExitCode> {
  const post = postNumberOf(number);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const answer = (await ask(site, list, { post })) as DeliveryReport;
    const { out } = context;
    if (out.json) {
      out.print(toJson(answer));
      return DONE;
    }
    const { counts, routes, reasons, mayHaveTwice } = answer;
    printFields(out, [
      ['post', `${answer.number} of ${list.address}`],
      ['subject', answer.subject],
      ['accepted', timeText(answer.at)],
      ['order', stateOf(answer)],
      ['members', answer.recipients],
      ['handed over', counts.handed],
      ...Object.entries(routes).map(([route, copies]) => [`  by ${route || '?'}`, copies] as const),
      ['  may have it twice', mayHaveTwice],
      ['queued', counts.queued],
      ['deferred', counts.deferred],
      ['refused', counts.refused],
      ['cancelled', counts.cancelled],
      ['first copy', timeOrNone(answer.firstAt)],
      ['last copy', timeOrNone(answer.lastAt)],
      ['next try', timeOrNone(answer.nextAt)],
    ]);
    if (reasons.length > 0) out.print('');
    const rows = reasons.map(({ state, code, status, recipients, reply }) => {
      return [recipients, state, codeText(code), status, brief(reply)];
    });
    if (rows.length > 0)
      printTable(out, ['>members', 'state', '>code', 'status', 'e.g.'], rows, '');
    return DONE;
  });
}

async function story(
  context: Context,
  text: string,
  number: string,
  address: string,
): Promise<ExitCode> {
  const post = postNumberOf(number);
  const recipient = addressFrom(address);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const answer = (await ask(site, list, { post, recipient })) as DeliveryStory;
    const { out } = context;
    if (out.json) {
      out.print(toJson(answer));
      return DONE;
    }
    printFields(out, [
      ['post', `${answer.number} of ${list.address}`],
      ['subject', answer.subject],
      ['accepted', timeText(answer.at)],
      ['order', stateOf(answer)],
      ['recipient', recipient],
      ['state', standText(answer)],
    ]);
    out.print('');
    const rows = answer.story.map(({ at, state, route, code, status, reply, next }) => {
      return [timeText(at), state, route, codeText(code), status, timeOrNone(next), reply];
    });
    const columns = ['at', 'state', 'route', '>code', 'status', 'next try', 'reply'];
    printTable(out, columns, rows, 'Nothing is known of it yet.');
    return DONE;
  });
}

const standText = ({ state, mayHaveTwice }: DeliveryStory): string => {
  if (state === null) return 'no posts were sent to this address then';
  return mayHaveTwice ? `${state}, and may have been before: they may have it twice` : state;
};

const timeOrNone = (at: number | null): string => (at === null ? '-' : timeText(at));
/** In a table of many; one recipient’s story, and --json, have all of it. */
const brief = (reply: string): string =>
  reply.length > BRIEF_MAX ? `${reply.slice(0, BRIEF_MAX)}…` : reply;
/** RFC 1047: the connection was lost after the final dot, so nobody knows. */
const codeText = (code: number): string => (code === 0 ? '?' : String(code));

// ── failed ────────────────────────────────────────────────────────────────

async function failed(
  context: Context,
  text: string,
  number: string,
  isResend: boolean,
): Promise<ExitCode> {
  const post = postNumberOf(number);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const { out } = context;
    const failures: Failure[] = [];
    for await (const failure of failuresOf(site, list, post)) {
      failures.push(failure);
      if (failures.length >= LISTED_MAX && !out.json && !isResend) break;
    }
    const resent = isResend ? await resend(context, site, list, post, failures) : null;
    if (out.json) {
      out.print(toJson({ list: list.address, post, failures, ...(isResend && { resent }) }));
      return DONE;
    }
    const rows = failures
      .slice(0, LISTED_MAX)
      .map(({ number, address, at, route, code, status, reply }) => {
        return [number, address ?? '?', timeText(at), route, code, status, brief(reply)];
      });
    const columns = ['>member', 'address', 'at', 'route', '>code', 'status', 'reply'];
    printTable(out, columns, rows, 'Nobody was refused.');
    if (failures.length >= LISTED_MAX) out.note(`The first ${LISTED_MAX}; --json has them all.`);
    if (resent !== null) out.print(clean(`sent again to ${resent} of ${failures.length}`));
    return DONE;
  });
}

async function* failuresOf(
  site: Site,
  list: DirectoryEntry,
  post: number,
): AsyncGenerator<Failure> {
  let after = 0;
  for (;;) {
    const body = { post, failed: { after } };
    const { failures, next } = (await ask(site, list, body)) as DeliveryFailures;
    yield* failures;
    // A page that does not go on would be asked for again for ever.
    if (next === null || next <= after) return;
    after = next;
  }
}

/** How many it is sent to again. */
async function resend(
  { by }: Context,
  site: Site,
  list: DirectoryEntry,
  post: number,
  failures: readonly Failure[],
): Promise<number> {
  let members = 0;
  let refused: unknown = null;
  for (const { id, to } of resendsOf(post, failures)) {
    try {
      const { answer } = await command(site, list, id, { type: 'resend', post, to, by });
      if (answer.type === 'resent') members += answer.members;
    } catch (error) {
      if (!isNothingToDo(error)) throw error;
      refused = error; // None of these is a member any more; others may be.
    }
  }
  if (members === 0 && refused !== null) throw refused;
  return members;
}

const isNothingToDo = (error: unknown): boolean =>
  error instanceof OperatorError && (error.cause as Partial<Refusal>)?.code === 'nothing-to-do';

/**
 * Whom one try of a chunk refused at one time is one command: when this is asked again while some wait to be sent to and others were
 * refused once more, those who wait are not sent to twice.
 */
export function resendsOf(
  post: number,
  failures: readonly Pick<Failure, 'number' | 'at' | 'chunk' | 'try'>[],
): readonly { readonly id: string; readonly to: readonly number[] }[] {
  const together = Map.groupBy(failures, ({ chunk, try: attempt, at }) => {
    return `resend.${post}.${chunk}.${attempt}.${at}`;
  });
  return [...together].map(([id, some]) => ({ id, to: some.map(({ number }) => number) }));
}

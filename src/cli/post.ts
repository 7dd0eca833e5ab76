/** `troupe post`: a list's posts; pause, resume or cancel the sending of one. A post is named by its list and its number there. */
import type { PostsPage, PostView } from '../../actors/protocol-posts.ts';
import { UsageError } from '../errors.ts';
import type { PostOrder } from '../mail/chunk.ts';
import { type Context, DONE, type ExitCode, type Register } from './context.ts';
import { clean, printTable, timeText, toJson } from './print.ts';
import { command, commandId, findList, question } from './site.ts';

const LISTED = '20';
const LISTED_MAX = 200;

const ORDERS: readonly (readonly [verb: string, order: PostOrder, done: string, about: string])[] =
  [
    ['pause', 'pause', 'paused', 'send no more copies for now'],
    ['resume', 'go', 'resumed', 'send on what was paused'],
    ['cancel', 'cancel', 'cancelled', 'send no more copies; what was handed over stays so'],
  ];

export const register: Register = (program, run) => {
  const post = program.command('post').description('posts: list them; pause, resume, cancel one');
  post
    .command('ls <list>')
    .description('the newest posts, with the numbers by which they are named')
    .option('--limit <count>', 'posts listed at most', LISTED)
    .option('--before <post>', 'only older ones')
    .action((list: string, flags: { limit: string; before?: string }) =>
      run((c) => ls(c, list, flags)),
    );
  for (const [verb, order, done, about] of ORDERS) {
    post
      .command(`${verb} <list> <post>`)
      .description(about)
      .action((list: string, number: string) => run((c) => give(c, list, number, order, done)));
  }
};

async function ls(
  context: Context,
  text: string,
  flags: { readonly limit: string; readonly before?: string },
): Promise<ExitCode> {
  const limit = Math.min(Math.max(postNumberOf(flags.limit), 1), LISTED_MAX);
  const before = flags.before === undefined ? Number.MAX_SAFE_INTEGER : postNumberOf(flags.before);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const asked = { ask: 'posts', before, limit, by: context.by } as const;
    const { posts, next } = (await question<PostsPage>(site, list, asked)).answer;
    const { out } = context;
    if (out.json) out.print(toJson({ posts, next }));
    else {
      const rows = posts.map(({ number, at, recipients, order, subject }) => {
        return [number, timeText(at), recipients, stateOf({ order }), subject];
      });
      const columns = ['>post', 'accepted', '>members', 'order', 'subject'];
      printTable(out, columns, rows, `${list.address} has no posts yet.`);
      if (next !== null) out.note(`Older ones: troupe post ls ${list.address} --before ${next}`);
    }
    return DONE;
  });
}

/** In one word, what is to become of a post. */
export function stateOf({ order }: Pick<PostView, 'order'>): string {
  return order === 'go' ? '-' : order === 'pause' ? 'paused' : 'cancelled';
}

async function give(
  context: Context,
  text: string,
  number: string,
  order: PostOrder,
  done: string,
): Promise<ExitCode> {
  const post = postNumberOf(number);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const { by, out } = context;
    const id = commandId(context.random);
    await command(site, list, id, { type: 'order-post', post, order, by });
    if (out.json) out.print(toJson({ list: list.address, post, order }));
    else out.print(clean(`${done} post ${post} of ${list.address}`));
    return DONE;
  });
}

/** Throws OperatorError. */
export function postNumberOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`“${text}” is not the number of a post`, 'See `troupe post ls LIST`.');
}

/** `troupe hold`: look at held posts and decide on them. */
import type { Command, HeldPost, HoldId, HoldsPage } from '../../actors/protocol.ts';
import { type OperatorError, textOf, UsageError } from '../errors.ts';
import type { DirectoryEntry } from '../nats/directory.ts';
import { type Context, DONE, type ExitCode, FAILED, type Register } from './context.ts';
import { failureOf, refused } from './explain.ts';
import {
  bytesText,
  clean,
  cleanText,
  printFields,
  printJsonItems,
  printTable,
  timeText,
  toJson,
} from './print.ts';
import { command, commandId, findList, question, type Site } from './site.ts';

const PAGE = 200;
/** Lines of text shown of a held post. */
const PREVIEW_LINES_MAX = 40;
/** Header fields a moderator reads, in this order. */
const SHOWN_FIELDS = ['From', 'To', 'Cc', 'Date', 'Subject', 'Message-ID', 'Content-Type'];

export const register: Register = (program, run) => {
  const hold = program.command('hold').description('held posts');
  hold
    .command('ls <list>')
    .description('what is held')
    .action((list: string) => run((c) => ls(c, list)));
  hold
    .command('show <list> <id>')
    .description('one held post: why it is held, its header and text')
    .action((list: string, id: string) => run((c) => show(c, list, id)));
  hold
    .command('approve <list> <id...>')
    .description('send them to the list')
    .action((list: string, ids: string[]) =>
      run((c) => decide(c, list, ids, 'approved', (hold) => ({ type: 'approve', hold, by: c.by }))),
    );
  hold
    .command('reject <list> <id...>')
    .description('do not send them, and tell the senders')
    .option('--comment <text>', 'what the senders are told', '')
    .action((list: string, ids: string[], { comment }: { comment: string }) =>
      run((c) =>
        decide(c, list, ids, 'rejected', (hold) => ({ type: 'reject', hold, comment, by: c.by })),
      ),
    );
  hold
    .command('discard <list> <id...>')
    .description('drop them and tell nobody')
    .action((list: string, ids: string[]) =>
      run((c) =>
        decide(c, list, ids, 'discarded', (hold) => ({ type: 'discard', hold, by: c.by })),
      ),
    );
};

// ── ls ────────────────────────────────────────────────────────────────────

async function ls(context: Context, text: string): Promise<ExitCode> {
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const holds = holdsOf(site, list);
    if (context.out.json) {
      await printJsonItems(context.out, holds);
      return DONE;
    }
    const rows: (string | number)[][] = [];
    for await (const { hold, post, reasons, heldAt } of holds) {
      const from = post.from[0] ?? (post.sender || '<>');
      const size = bytesText(post.bytes);
      rows.push([hold, timeText(heldAt), from, size, reasons.join(', '), post.subject]);
    }
    const columns = ['>id', 'held', 'from', '>size', 'why', 'subject'];
    printTable(context.out, columns, rows, `Nothing is held on ${list.address}.`);
    return DONE;
  });
}

async function* holdsOf(site: Site, list: DirectoryEntry): AsyncGenerator<HeldPost> {
  let after = 0;
  for (;;) {
    const asked = { ask: 'holds', after, limit: PAGE } as const;
    const { holds, next } = (await question<HoldsPage>(site, list, asked)).answer;
    yield* holds;
    // A page that does not go on would be asked for again for ever.
    if (next === null || next <= after) return;
    after = next;
  }
}

// ── show ──────────────────────────────────────────────────────────────────

async function show(context: Context, text: string, idText: string): Promise<ExitCode> {
  const hold = holdIdOf(idText);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const held = (await question<HeldPost | null>(site, list, { ask: 'hold', hold })).answer;
    if (held === null) throw noSuchHold(hold);
    const raw = await site.rawOf(list, held);
    const preview = raw === null ? null : await previewOf(raw);
    if (context.out.json) context.out.print(toJson({ ...held, ...preview }));
    else printHeld(context, list, held, preview);
    return DONE;
  });
}

type Preview = { readonly header: readonly (readonly [string, string])[]; readonly text: string };

/**
 * What a moderator wants to see of it. The text comes out of a bounded worker, whatever the mail
 * is.
 */
async function previewOf(raw: Uint8Array): Promise<Preview> {
  const [{ parseHeader, isProblem }, { decodeWords }, { previewText, stopMime }] =
    await Promise.all([
      import('../mail/header.ts'),
      import('../mail/encoded-words.ts'),
      import('../mail/mime.ts'),
    ]);
  const parsed = parseHeader(raw);
  const header = isProblem(parsed)
    ? []
    : SHOWN_FIELDS.flatMap((name) => {
        const value = parsed.get(name.toLowerCase());
        return value === null || value === undefined ? [] : [[name, decodeWords(value)] as const];
      });
  try {
    return { header, text: await previewText(raw) };
  } catch (error) {
    return { header, text: `(the text cannot be shown: ${textOf(error)})` };
  } finally {
    await stopMime();
  }
}

function printHeld(
  { out }: Context,
  list: DirectoryEntry,
  held: HeldPost,
  preview: Preview | null,
): void {
  printFields(out, [
    ['list', list.address],
    ['hold', held.hold],
    ['held', timeText(held.heldAt)],
    ['why', held.reasons.join(', ')],
    ['size', bytesText(held.post.bytes)],
    ['envelope from', held.post.sender === '' ? '<>' : held.post.sender],
    ['authentication', authenticationText(held.post.authentication)],
    ['trace', held.post.trace],
    ...(preview?.header ?? [['Subject', held.post.subject] as const]),
  ]);
  out.print('');
  if (preview === null) {
    out.note('The raw mail is gone; it can only be discarded.');
    return;
  }
  const lines = cleanText(preview.text).trimEnd().split('\n');
  for (const line of lines.slice(0, PREVIEW_LINES_MAX)) out.print(`  ${line}`);
  const more = lines.length - PREVIEW_LINES_MAX;
  if (more > 0) out.print(`  … ${more} more lines`);
}

/** In the words of RFC 8601 §2.2, and what they mean for a moderator. */
function authenticationText(result: HeldPost['post']['authentication']): string {
  return `${result} (nothing vouches for From)`;
}

// ── approve, reject, discard ──────────────────────────────────────────────

async function decide(
  context: Context,
  text: string,
  idTexts: readonly string[],
  word: string,
  commandFor: (hold: HoldId) => Command,
): Promise<ExitCode> {
  const holds = idTexts.map(holdIdOf);
  return await context.withSite(async (site) => {
    const list = await findList(site, text);
    const done: HoldId[] = [];
    const failed: { hold: HoldId; why: string }[] = [];
    for (const hold of holds) {
      try {
        await command(site, list, commandId(context.random), commandFor(hold));
        done.push(hold);
      } catch (error) {
        failed.push({ hold, why: failureOf(error).text });
      }
    }
    if (context.out.json) context.out.print(toJson({ [word]: done, failed }));
    else {
      for (const hold of done) context.out.print(`${word} ${hold}`);
      for (const { hold, why } of failed) context.out.note(clean(`${hold}: ${why}`));
    }
    return failed.length === 0 ? DONE : FAILED;
  });
}

function noSuchHold(hold: HoldId): OperatorError {
  return refused({ type: 'refusal', code: 'no-such-hold', text: `there is no hold ${hold}` });
}

function holdIdOf(text: string): HoldId {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`“${text}” is not the id of a hold`, 'See `troupe hold ls LIST`.');
}

/** `troupe outbox`: mail that was captured because no route is configured. */
import { OperatorError, UsageError } from '../errors.ts';
import type { OutboxMail, OutboxPage, OutboxRequest } from '../nats/outbox-view.ts';
import { OUTBOX_QUERY } from '../nats/subjects.ts';
import { type Context, DONE, type ExitCode, type Register } from './context.ts';
import { bytesText, cleanText, printFields, printTable, timeText, toJson } from './print.ts';

/** Recipients named in a row; the rest are counted. */
const NAMED_MAX = 2;

export const register: Register = (program, run) => {
  program
    .command('outbox [id]')
    .description('mail that was captured instead of sent; with an id, the mail itself')
    .option('--limit <count>', 'mails listed at most', '20')
    .option('--before <id>', 'only older ones')
    .action((id: string | undefined, flags: { limit: string; before?: string }) =>
      run((c) => (id === undefined ? ls(c, flags) : show(c, countOf(id)))),
    );
};

async function ls(
  context: Context,
  flags: { readonly limit: string; readonly before?: string },
): Promise<ExitCode> {
  const request: OutboxRequest = {
    limit: countOf(flags.limit),
    ...(flags.before === undefined ? {} : { before: countOf(flags.before) }),
  };
  const { out } = context;
  return await context.withSite(async (site) => {
    const page = (await site.request(OUTBOX_QUERY, request)) as OutboxPage;
    if (out.json) out.print(toJson(page));
    else {
      const rows = page.mails.map((mail) => [
        mail.id,
        timeText(mail.at),
        recipientsText(mail.recipients),
        bytesText(mail.bytes),
        mail.subject,
      ]);
      printTable(out, ['>id', 'at', 'to', '>size', 'subject'], rows, 'Nothing was captured yet.');
      const older = page.count - page.mails.length;
      const last = page.mails.at(-1);
      if (older > 0 && last !== undefined && flags.before === undefined) {
        out.note(`${page.count} in all; older ones: troupe outbox --before ${last.id}`);
      }
    }
    return DONE;
  });
}

function recipientsText(recipients: readonly string[]): string {
  const more = recipients.length - NAMED_MAX;
  const named = recipients.slice(0, NAMED_MAX).join(', ');
  return more > 0 ? `${named} and ${more} more` : named;
}

async function show(context: Context, id: number): Promise<ExitCode> {
  const { out } = context;
  return await context.withSite(async (site) => {
    const { mail } = (await site.request(OUTBOX_QUERY, { id })) as OutboxMail;
    if (mail === null) {
      throw new OperatorError(`no mail ${id} was captured`, 'See `troupe outbox`.');
    }
    if (out.json) out.print(toJson(mail));
    else {
      printFields(out, [
        ['id', mail.id],
        ['at', timeText(mail.at)],
        ['return path', `<${mail.sender}>`],
        ['to', mail.recipients.join(', ')],
      ]);
      out.print('');
      out.print(cleanText(Buffer.from(mail.raw, 'base64').toString('utf8')).trimEnd());
    }
    return DONE;
  });
}

function countOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`“${text}” is not a number`, 'See `troupe outbox`.');
}

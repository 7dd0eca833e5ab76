/**
 * `/delivery/<list>/<post>`: what became of a post, as JSON; `?recipient=` for one recipient, `?failed` for those who were refused.
 *
 * It names members, so until people can log in it answers this machine only, as the outbox does, and speaks for its operator: the
 * list's owner node is asked in their name, and decides.
 */
import type { Context, Hono } from 'hono';
import { MailError, OperatorError } from '../errors.ts';
import { parseAddress } from '../mail/address.ts';
import { type DeliverySource, parseDeliveryRequest } from '../nats/delivery-view.ts';
import { forThisMachine } from './outbox.ts';
import { problem } from './problem.ts';

export type DeliveryNeeds = {
  readonly delivery: DeliverySource;
  /** Host names, besides localhost and bare addresses, under which we are asked. */
  readonly hosts: readonly string[];
};

const BY = { kind: 'operator', name: 'http' } as const;

export function addDelivery(app: Hono, { delivery, hosts }: DeliveryNeeds): void {
  app.get('/delivery/:list/:post', forThisMachine(hosts, 'troupe delivery show'), async (c) => {
    const list = parseAddress(c.req.param('list'));
    if (list === null) return await problem(c, 400, 'The list is no mail address.');
    try {
      return c.json(await delivery(list, requestOf(c), BY));
    } catch (error) {
      if (error instanceof OperatorError) return await problem(c, 404, error.message);
      if (!(error instanceof MailError)) throw error;
      return await problem(c, error.isTransient ? 503 : 400, error.message);
    }
  });
}

/** Throws MailError 501. */
function requestOf(c: Context): ReturnType<typeof parseDeliveryRequest> {
  const { recipient, failed, after, limit } = c.req.query();
  const page = { ...numbered({ after }), ...numbered({ limit }) };
  return parseDeliveryRequest({
    ...numbered({ post: c.req.param('post') }),
    ...(recipient !== undefined && { recipient }),
    ...(failed !== undefined && { failed: page }),
  });
}

/** The numbers of a query; what is none becomes NaN, and is refused. */
function numbered(given: Readonly<Record<string, string | undefined>>): Record<string, number> {
  const there = Object.entries(given).flatMap(([name, text]) =>
    text === undefined ? [] : [[name, text] as const],
  );
  return Object.fromEntries(
    there.map(([name, text]) => [name, /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN]),
  );
}

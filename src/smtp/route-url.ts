/** The URL of a route: `smtp://host:25`, `smtps://host`, `lmtp://127.0.0.1:24`. */
import { OperatorError } from '../errors.ts';

export type RouteUrl = {
  readonly protocol: 'smtp' | 'smtps' | 'lmtp';
  readonly host: string;
  readonly port: number;
};

const PORTS = { smtp: 25, smtps: 465, lmtp: 24 } as const;

/** Parses a route's URL; throws an {@link OperatorError} that never repeats it: it may hold a password. */
export function parseRouteUrl(text: string): RouteUrl {
  const url = URL.canParse(text) ? new URL(text) : null;
  const protocol = url?.protocol.slice(0, -1);
  if (url === null || (protocol !== 'smtp' && protocol !== 'smtps' && protocol !== 'lmtp')) {
    throw wrong('it must begin with smtp://, smtps:// or lmtp://');
  }
  if (url.hostname === '') throw wrong('it names no host');
  if (url.search !== '' || url.hash !== '' || (url.pathname !== '' && url.pathname !== '/')) {
    throw wrong('nothing may follow the port');
  }
  return {
    protocol,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? PORTS[protocol] : Number(url.port),
  };
}

function wrong(why: string): OperatorError {
  return new OperatorError(
    `The URL of an outgoing route is wrong: ${why}.`,
    'Write it like smtp://127.0.0.1:25 or lmtp://127.0.0.1:24.',
  );
}

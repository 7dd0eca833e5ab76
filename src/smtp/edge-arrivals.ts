/**
 * Who comes to the edge: finds out for whom a listed proxy connects, and gives each client a seat or turns it away.
 *
 * All of it is done before the greeting, so that nobody who is not served costs more than a socket.
 */
import type { Socket } from 'node:net';
import { MailError } from '../errors.ts';
import { type IsTrusted, peerOf, type Seats, trustedPeers } from './edge-limits.ts';
import { type Door, tooManyGuesses } from './edge-transaction.ts';
import { readProxyHeader } from './proxy-header.ts';

export type Arrivals = {
  /** Calls `welcome` with the client's address when it has its seat; a client without one is told why. */
  meet(socket: Socket, welcome: (client: string) => void): void;
  /** It is listed to say for whom it connects, by XCLIENT. */
  mayNameClient(peer: string): boolean;
  /** A peer spoke for a client: the peer's seat is given back for one of the client's, or the client is turned away. */
  onClient(peer: string, client: string): MailError | null;
  leave(client: string): void;
};

export function createArrivals(
  door: Door,
  listed: { readonly proxies: readonly string[]; readonly xclient: readonly string[] },
  seats: Seats,
  isTrusted: IsTrusted,
  stopping: AbortSignal,
): Arrivals {
  const isProxy = listedOn(door, listed.proxies);
  const take = (client: string): MailError | null =>
    !isTrusted(client) && door.wrongMacs.isOver(client) ? tooManyGuesses() : seats.take(client);

  function seat(socket: Socket, client: string, welcome: (client: string) => void): void {
    const refusal = take(client);
    if (refusal === null) welcome(client);
    else turnAway(socket, refusal, door);
  }

  return {
    meet(socket, welcome) {
      const peer = peerOf(socket.remoteAddress);
      if (!isProxy(peer)) return seat(socket, peer, welcome);
      void behindProxy(socket, peer, door, stopping).then((client) => {
        if (client !== null) seat(socket, client, welcome);
      });
    },
    mayNameClient: listedOn(door, listed.xclient),
    onClient(peer, client) {
      const refusal = take(client);
      if (refusal === null) seats.leave(peer);
      return refusal;
    },
    leave: seats.leave,
  };
}

/** The lists are for the SMTP port: what comes by LMTP is our own MTA, whatever else runs on its host. */
function listedOn({ protocol }: Door, listed: readonly string[]): IsTrusted {
  return protocol === 'lmtp' ? () => false : trustedPeers(listed);
}

/** For whom a listed proxy connects; null if there is nobody to be served. */
async function behindProxy(
  socket: Socket,
  proxy: string,
  door: Door,
  stopping: AbortSignal,
): Promise<string | null> {
  const { clock, log } = door.needs;
  const header = await readProxyHeader(socket, clock, stopping);
  if (header === 'malformed') {
    log.warn({ proxy }, 'no PROXY header came from a host listed in smtp.proxies; turned away');
    turnAway(socket, new MailError(421, '4.7.0', 'A PROXY header was expected'), door);
    return null;
  }
  if (header === 'gone' || socket.destroyed) {
    socket.destroy();
    return null;
  }
  return header.client === null ? proxy : peerOf(header.client);
}

/** Nothing is kept for a client that is turned away, so that thousands of them cost nothing. */
function turnAway(socket: Socket, { code, status, message }: MailError, door: Door): void {
  door.needs.meter.count('edge_turned_away', { protocol: door.protocol, status });
  socket.end(`${code} ${status} ${message}\r\n`, () => socket.destroy());
}

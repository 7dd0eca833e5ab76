/**
 * The edge's limits, and what counts against them: seats for connections, bytes being received,
 * wrong MACs a peer.
 *
 * Strangers and listed MTAs (`trusted`) sit apart, so that a crowd of strangers never keeps a
 * listed MTA out.
 */
import { BlockList, isIP } from 'node:net';
import { MailError, OperatorError, type Status } from '../errors.ts';

export type EdgeLimits = {
  /** Recipients of one transaction; 452 4.5.3 past that. At least 100 (RFC 5321 §4.5.3.1.8). */
  readonly recipientsMax: number;
  /** Connections at once of strangers, and as many again of listed MTAs; 421 4.3.2 past that. */
  readonly connectionsMax: number;
  /** Connections at once of one stranger's address; 421 4.7.0 past that. */
  readonly connectionsPerAddressMax: number;
  /** How long a client may take over one command; then 421 4.4.2. */
  readonly commandIdleMs: number;
  /** How long a client may pause within DATA; then 421 4.4.2. */
  readonly dataIdleMs: number;
  /** How long DATA may take in all; then 421 4.4.2. */
  readonly dataTotalMs: number;
  /** How long a connection may live without a mail; then 421 4.4.2. */
  readonly withoutMailMs: number;
  /** Bytes of one message; 552 5.3.4 past that. */
  readonly sizeMax: number;
  /**
   * Bytes of all messages being received, in memory and in temporary files; 452 4.3.2 past that.
   */
  readonly inFlightBytesMax: number;
  /** Wrong MACs a minute from one stranger; then 421 4.7.0 until the minute is over. */
  readonly wrongMacsPerMinuteMax: number;
  /** How long `stop` lets transactions in hand finish. */
  readonly stopMs: number;
  /** A bare CR or LF in a message: made CRLF, or the message refused with 554 5.6.0. */
  readonly bareLineEnds: 'rewrite' | 'refuse';
};

/** The times are those of RFC 5321 §4.5.3.2 where a stranger may not make them ours to bear. */
export const EDGE_LIMITS: EdgeLimits = {
  recipientsMax: 100,
  connectionsMax: 100,
  connectionsPerAddressMax: 20,
  commandIdleMs: 60_000,
  dataIdleMs: 120_000,
  dataTotalMs: 15 * 60_000,
  withoutMailMs: 10 * 60_000,
  sizeMax: 10 * 1024 * 1024,
  inFlightBytesMax: 512 * 1024 * 1024,
  wrongMacsPerMinuteMax: 20,
  stopMs: 10_000,
  bareLineEnds: 'rewrite',
};

/** How far past its limit a message may run on before the connection is dropped. */
export const OVERRUN_BYTES_MAX = 64 * 1024;
/**
 * One command line, CRLF apart: RFC 5321's 512 octets with room for every parameter we know, and to
 * spare.
 */
export const COMMAND_BYTES_MAX = 4_096;
/** The header of one message. */
export const HEADER_BYTES_MAX = 256 * 1024;
export const HEADER_LINES_MAX = 1_000;
/** The recipients of one transaction as they stand in a NATS header (JSON, ASCII). */
export const ENVELOPE_BYTES_MAX = 128 * 1024;
/** Refused connections that still wait for their 421 to be read. */
export const REFUSED_CONNECTIONS_MAX = 50;
/** Peers whose wrong MACs are counted within a minute; more are not counted, only refused. */
const WRONG_MAC_PEERS_MAX = 10_000;
const MINUTE_MS = 60_000;

/**
 * Says whether a peer is one of the listed MTAs. A peer without an address came by the Unix socket,
 * and is.
 */
export type IsTrusted = (peer: string) => boolean;

/** Addresses and CIDRs, e.g. `10.0.0.0/8`. Throws OperatorError for what is neither. */
export function trustedPeers(listed: readonly string[]): IsTrusted {
  const peers = new BlockList();
  for (const entry of listed) addPeer(peers, entry);
  return (peer) => {
    const version = isIP(peer);
    return version === 0 ? peer === '' : peers.check(peer, version === 4 ? 'ipv4' : 'ipv6');
  };
}

function addPeer(peers: BlockList, entry: string): void {
  const [base = '', bits] = entry.split('/');
  const version = isIP(base);
  const family = version === 4 ? 'ipv4' : 'ipv6';
  try {
    if (version === 0) throw new Error('no address');
    if (bits === undefined) peers.addAddress(base, family);
    else peers.addSubnet(base, /^\d+$/.test(bits) ? Number(bits) : -1, family);
  } catch (cause) {
    throw new OperatorError(
      `trusted: ${JSON.stringify(entry)} is no address and no CIDR`,
      'Write an IP address, or a network such as 10.0.0.0/8.',
      cause,
    );
  }
}

/**
 * The peer's address as it is counted and logged: IPv4 without its IPv6 mapping; '' for the Unix
 * socket.
 */
export function peerOf(remoteAddress: string | undefined): string {
  return (remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
}

export type Seats = {
  /** Null, or the 421 that says why there is none. Each seat taken is left once. */
  take(peer: string): MailError | null;
  leave(peer: string): void;
};

/** Counts connections: of all strangers, of each stranger's address, and of listed MTAs. */
export function createSeats(
  limits: Pick<EdgeLimits, 'connectionsMax' | 'connectionsPerAddressMax'>,
  isTrusted: IsTrusted,
): Seats {
  const byAddress = new Map<string, number>();
  const taken = { trusted: 0, strangers: 0 };
  const poolOf = (peer: string): keyof typeof taken => (isTrusted(peer) ? 'trusted' : 'strangers');
  return {
    take(peer) {
      const pool = poolOf(peer);
      const here = byAddress.get(peer) ?? 0;
      if (pool === 'strangers' && here >= limits.connectionsPerAddressMax) {
        return tooMany('4.7.0', 'Too many connections from your address, try again later');
      }
      if (taken[pool] >= limits.connectionsMax) {
        return tooMany('4.3.2', 'Too many connections, try again later');
      }
      taken[pool]++;
      byAddress.set(peer, here + 1);
      return null;
    },
    leave(peer) {
      taken[poolOf(peer)]--;
      const here = (byAddress.get(peer) ?? 0) - 1;
      if (here > 0) byAddress.set(peer, here);
      else byAddress.delete(peer);
    },
  };
}

function tooMany(status: Status, text: string): MailError {
  return new MailError(421, status, text);
}

export type WrongMacs = {
  count(peer: string): void;
  isOver(peer: string): boolean;
};

/**
 * Counts wrong MACs a peer within the running minute: a MAC is 80 bits, and guessing stays
 * hopeless.
 */
export function createWrongMacs(perMinuteMax: number, monotonic: () => number): WrongMacs {
  const counts = new Map<string, number>();
  let minute = -1;
  function roll(): void {
    const now = Math.floor(monotonic() / MINUTE_MS);
    if (now !== minute) counts.clear();
    minute = now;
  }
  return {
    count(peer) {
      roll();
      const before = counts.get(peer) ?? 0;
      if (before > 0 || counts.size < WRONG_MAC_PEERS_MAX) counts.set(peer, before + 1);
    },
    isOver(peer) {
      roll();
      return (counts.get(peer) ?? 0) > perMinuteMax;
    },
  };
}

/** Bytes of all messages being received. */
export type Budget = {
  /** False, and nothing taken, if there is no room. */
  take(bytes: number): boolean;
  give(bytes: number): void;
  hasRoom(bytes: number): boolean;
};

export function createBudget(bytesMax: number): Budget {
  let used = 0;
  const hasRoom = (bytes: number): boolean => used + bytes <= bytesMax;
  return {
    take(bytes) {
      if (!hasRoom(bytes)) return false;
      used += bytes;
      return true;
    },
    give(bytes) {
      used -= bytes;
    },
    hasRoom,
  };
}

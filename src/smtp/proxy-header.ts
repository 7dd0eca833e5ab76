/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a header before anything else, in which a listed proxy
 * says for whom it connects.
 *
 * It is read from listed hosts only, and must come from them: whether there is one is never guessed. What says no client (LOCAL,
 * UNKNOWN: a proxy's own checks) leaves the proxy as the peer.
 */
import { isIPv4, isIPv6, type Socket, SocketAddress } from 'node:net';
import type { Clock } from '../world.ts';

/** A proxy sends its header with the first packet. */
export const PROXY_HEADER_MS_MAX = 5_000;
/** A line of version 1 with its CRLF. */
const LINE_BYTES_MAX = 107;
/** Addresses and extensions of version 2; what we have seen is under 300. */
const REST_BYTES_MAX = 4_096;
const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
/** The signature, version and command, family, length of the rest. */
const FIXED_BYTES = 16;
const IPV4_BYTES = 12;
const IPV6_BYTES = 36;
const PORT = /^\d{1,5}$/;

export type ProxyHeader =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'malformed' }
  /** `client` is the address it speaks for, in its canonical form; null: for itself. `bytes` long. */
  | { readonly kind: 'header'; readonly client: string | null; readonly bytes: number };

const INCOMPLETE: ProxyHeader = { kind: 'incomplete' };
const MALFORMED: ProxyHeader = { kind: 'malformed' };

/** What the first bytes of a connection say; bytes after the header do not matter. */
export function parseProxyHeader(begin: Buffer): ProxyHeader {
  const isBinary = begin[0] === SIGNATURE[0];
  return isBinary ? parseBinary(begin) : parseLine(begin.toString('latin1', 0, LINE_BYTES_MAX));
}

/** `PROXY TCP4 192.0.2.1 192.0.2.9 56324 25\r\n` */
function parseLine(text: string): ProxyHeader {
  if (!'PROXY '.startsWith(text.slice(0, 6))) return MALFORMED;
  const end = text.indexOf('\r\n');
  if (end < 0) return text.length < LINE_BYTES_MAX ? INCOMPLETE : MALFORMED;
  const bytes = end + 2;
  const [, family, ...rest] = text.slice(0, end).split(' ');
  if (family === 'UNKNOWN') return { kind: 'header', client: null, bytes };
  const [client = '', to = '', ...ports] = rest;
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : () => false;
  const isWhole = ports.length === 2 && ports.every((port) => PORT.test(port));
  if (!isWhole || !isAddress(client) || !isAddress(to)) return MALFORMED;
  return { kind: 'header', client: canonical(client), bytes };
}

function parseBinary(begin: Buffer): ProxyHeader {
  const signed = begin.subarray(0, SIGNATURE.length);
  if (!signed.equals(SIGNATURE.subarray(0, signed.length))) return MALFORMED;
  if (begin.length < FIXED_BYTES) return INCOMPLETE;
  const [command = 0, family = 0] = begin.subarray(SIGNATURE.length);
  const length = begin.readUInt16BE(FIXED_BYTES - 2);
  if (length > REST_BYTES_MAX) return MALFORMED;
  const bytes = FIXED_BYTES + length;
  if (begin.length < bytes) return INCOMPLETE;
  if (command === 0x20) return { kind: 'header', client: null, bytes };
  if (command !== 0x21) return MALFORMED;
  return ofFamily(family, begin.subarray(FIXED_BYTES, bytes), bytes);
}

/** The source address stands first in each family's part. */
function ofFamily(family: number, rest: Buffer, bytes: number): ProxyHeader {
  switch (family) {
    case 0x00: // Not known.
    case 0x31: // A Unix socket.
      return { kind: 'header', client: null, bytes };
    case 0x11:
      if (rest.length < IPV4_BYTES) return MALFORMED;
      return { kind: 'header', client: rest.subarray(0, 4).join('.'), bytes };
    case 0x21: {
      if (rest.length < IPV6_BYTES) return MALFORMED;
      const groups = rest.toString('hex', 0, 16).match(/.{4}/g) ?? [];
      return { kind: 'header', client: canonical(groups.join(':')), bytes };
    }
    default:
      return MALFORMED; // Datagrams: SMTP has none.
  }
}

/** An IP address as the system writes that of a peer. */
export function canonical(address: string): string {
  const family = isIPv4(address) ? 'ipv4' : 'ipv6';
  return new SocketAddress({ address, family }).address;
}

/**
 * Takes the header from a socket that nobody reads yet, and leaves what follows it to be read. `gone`: the other side closed, or
 * `signal` aborted. `malformed` too if there was none in time.
 */
export async function readProxyHeader(
  socket: Socket,
  clock: Clock,
  signal: AbortSignal,
): Promise<Extract<ProxyHeader, { kind: 'header' }> | 'malformed' | 'gone'> {
  const found = Promise.withResolvers<ProxyHeader | 'gone'>();
  const timer = new AbortController();
  let begin = Buffer.alloc(0);
  const read = (): void => {
    for (let next = socket.read(); next !== null; next = socket.read()) {
      begin = Buffer.concat([begin, next as Buffer]);
      const header = parseProxyHeader(begin);
      if (header.kind === 'incomplete') continue;
      if (header.kind === 'header') socket.unshift(begin.subarray(header.bytes));
      found.resolve(header);
      return;
    }
  };
  const leave = (): void => found.resolve('gone');
  socket.on('readable', read).on('end', leave).on('close', leave);
  signal.addEventListener('abort', leave, { once: true });
  void clock.sleep(PROXY_HEADER_MS_MAX, timer.signal).then(() => found.resolve(MALFORMED));
  const header = await found.promise;
  timer.abort();
  signal.removeEventListener('abort', leave);
  socket.off('readable', read).off('end', leave).off('close', leave);
  if (header === 'gone') return header;
  return header.kind === 'header' ? header : 'malformed';
}

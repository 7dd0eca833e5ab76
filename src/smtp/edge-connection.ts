/**
 * One connection of an SMTP or LMTP client: `smtp-server`'s, held to our rules.
 *
 * The library parses commands, ends DATA at CRLF.CRLF alone and does STARTTLS. This adds what it
 * lacks: deadlines that a trickle of bytes does not move, enhanced status codes of our choice, our
 * own address grammar, and no patience with what is sent ahead of its turn. It overrides methods
 * that the library exports but does not document, so the version is pinned and `test/smtp` probes
 * each behaviour.
 */
import type { Socket } from 'node:net';
import type { SMTPServer, SMTPServerAddress } from 'smtp-server';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';
import { MailError } from '../errors.ts';
import { parseAddress } from '../mail/address.ts';
import type { Clock } from '../world.ts';
import type { Arrivals } from './edge-arrivals.ts';
import { type EdgeLimits, peerOf } from './edge-limits.ts';
import { canonical } from './proxy-header.ts';

type Handed = {
  readonly limits: EdgeLimits;
  readonly clock: Clock;
  /** The peer's address, '' for the Unix socket. */
  readonly peer: string;
  readonly isTrusted: (peer: string) => boolean;
} & Pick<Arrivals, 'mayNameClient' | 'onClient'>;
type Parsed = SMTPServerAddress & { duplicate?: string };
type SocketOptions = ConstructorParameters<typeof SMTPConnection>[2];

/** A reply's text that begins with its own enhanced status code (RFC 3463). */
const WITH_STATUS = /^[245]\.\d{1,3}\.\d{1,3} /;
const LINE_TOO_LONG = 'Error: Command line too long';
const AHEAD_OF_TURN = '4.5.0 Sent ahead of its turn after DATA';
/**
 * `MAIL FROM:<path> parameters`, RFC 5321 §4.1.1.2–3; blanks after the colon are many clients'
 * habit.
 */
const PATH = /^(MAIL FROM|RCPT TO): *<((?:"(?:[^"\\]|\\.)*"|[^"<>])*)>((?: +[^ ]+)*) *$/i;
/** A source route is accepted and ignored (RFC 5321 §4.1.1.3 and appendix C). */
const SOURCE_ROUTE = /^@[^\s,:@]+(?:,@[^\s,:@]+)*:/;
const PARAMETER = /^([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?$/;
const PARAMETERS_MAX = 16;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * A connection with deadlines. The library makes the session; what `edge-transaction.ts` keeps of
 * it is its own.
 */
export class EdgeConnection extends SMTPConnection {
  #peer: string;
  readonly #handed: Handed;
  readonly #limits: EdgeLimits;
  readonly #clock: Clock;
  /** Monotonic ms by which the client has to have done its part; Infinity while it waits for us. */
  #deadline: number;
  #mailDeadline: number;
  #dataDeadline = Number.POSITIVE_INFINITY;
  #isReceiving = false;
  #hasGreeted = false;
  #refusedData = false;

  constructor(server: SMTPServer, socket: Socket, options: SocketOptions, handed: Handed) {
    super(server, socket, options);
    this.#peer = handed.peer;
    this.#handed = handed;
    this.#limits = handed.limits;
    this.#clock = handed.clock;
    const now = handed.clock.monotonic();
    this.#deadline = now + handed.limits.commandIdleMs;
    this.#mailDeadline = now + handed.limits.withoutMailMs;
  }

  /** The client's address: a proxy's until it has said for whom it connects. */
  get peer(): string {
    return this.#peer;
  }

  get isTrusted(): boolean {
    return this.#handed.isTrusted(this.#peer);
  }

  // ── Deadlines ───────────────────────────────────────────────────────────

  /** From 354 to the reply to the final dot. */
  get isReceiving(): boolean {
    return this.#isReceiving;
  }

  /** True if nobody is there to be answered any more. */
  get isGone(): boolean {
    return this._closing || this._closed;
  }

  /** DATA begins: the client is to send, and to be done in time. */
  beginData(): void {
    const now = this.#clock.monotonic();
    this.#isReceiving = true;
    this.#dataDeadline = now + this.#limits.dataTotalMs;
    this.#deadline = Math.min(now + this.#limits.dataIdleMs, this.#dataDeadline);
  }

  /** Some of the message came. */
  moreData(): void {
    this.#deadline = Math.min(
      this.#clock.monotonic() + this.#limits.dataIdleMs,
      this.#dataDeadline,
    );
  }

  /** The final dot is in: the client waits for us. */
  endData(): void {
    this.#deadline = Number.POSITIVE_INFINITY;
  }

  /** Closes with 421 if the client has let its time pass. */
  checkDeadline(now: number): void {
    if (now < this.#deadline || this._handlerPending || this.isGone) return;
    this.send(421, '4.4.2 Timeout, closing the connection');
  }

  /** Says why, once for each reply owed, and closes. */
  hangUp({ code, status, message }: MailError, replies = 1): void {
    for (let i = 0; i < replies && !this.isGone; i++) this.send(code, `${status} ${message}`);
    this.close();
  }

  /** We stop: the client is told, and not waited for. */
  sayGoodbye(): void {
    if (!this.isGone) this.send(421, '4.3.2 Shutting down, try again later');
    if (!this._upgrading) this._socket.destroySoon(); // Never from below a TLS handshake.
  }

  /** Ends the connection at once. */
  cut(): void {
    if (!this._upgrading) this._socket.destroy();
  }

  override close(): void {
    super.close();
    const stream = this._dataStream;
    // What was received so far is let go now, not when the socket ends.
    if (stream && !stream.writableEnded) stream.destroy();
  }

  // ── Replies ─────────────────────────────────────────────────────────────

  override send(code: number, text?: string | string[] | null, context?: string | false): void {
    const hasStatus = typeof text === 'string' && WITH_STATUS.test(text);
    const isHeld = code === 250 && !this.#isReceiving;
    if (isHeld) this.#holdReplies();
    if (text === LINE_TOO_LONG) this.hangUp(lineTooLong());
    else super.send(code, text, hasStatus ? false : context);
    if (!isHeld) this._socket.uncork();
    if (code !== 354) this.#awaitCommand();
  }

  /** Replies to commands that came together leave together (RFC 2920 §3.2), and none later than the turn it was made in. */
  #holdReplies(): void {
    const socket = this._socket;
    if (socket.writableCorked > 0) return;
    socket.cork();
    process.nextTick(() => socket.uncork());
  }

  #awaitCommand(): void {
    const now = this.#clock.monotonic();
    if (this.#isReceiving) this.#mailDeadline = now + this.#limits.withoutMailMs;
    this.#isReceiving = false;
    this.#deadline = Math.min(now + this.#limits.commandIdleMs, this.#mailDeadline);
  }

  /**
   * The library takes a command's name for a context; the class of the status must be that of the
   * code.
   */
  override _getEnhancedStatusCode(code: number, context?: string | false): string {
    if (code === 421 && context !== false) return '4.3.2';
    const status = super._getEnhancedStatusCode(code, context);
    const fits = status === '' || status.startsWith(String(code).charAt(0));
    return fits ? status : super._getEnhancedStatusCode(code);
  }

  // ── Who the client is ───────────────────────────────────────────────────

  /**
   * XCLIENT (postfix.org/XCLIENT_README) is for listed hosts, and said once: what follows is the client's own. The library checks
   * its arguments, and greets anew when it has taken them.
   */
  override _proxyCommandAllowed(command: string): boolean {
    return (
      command === 'XCLIENT' && this.#handed.mayNameClient(this.#peer) && !this._xClient.has('ADDR')
    );
  }

  override _sendGreeting(): void {
    const named = this._xClient.get('ADDR');
    const client = typeof named === 'string' ? peerOf(canonical(named)) : this.#peer;
    const refusal = client === this.#peer ? null : this.#handed.onClient(this.#peer, client);
    if (refusal === null) {
      this.#peer = client;
      super._sendGreeting();
    } else this.hangUp(refusal);
  }

  // ── What the client says ────────────────────────────────────────────────

  /** Listed MTAs are not made to wait 100 ms for the greeting. */
  override init(): void {
    super.init();
    if (this.isTrusted) this.connectionReady();
  }

  override connectionReady(next?: () => void): void {
    if (this.#hasGreeted) return;
    this.#hasGreeted = true;
    super.connectionReady(next);
  }

  /**
   * A client may pipeline DATA only as the last of a group (RFC 2920 §3.1): what came with it in
   * one read was sent without waiting for our answer. Were DATA refused, its lines would be taken
   * for commands.
   */
  override handler_DATA(command: Buffer, callback: () => void): void {
    super.handler_DATA(command, callback);
    const parser = this._parser;
    if (!parser) return;
    const isAccepted = parser._dataMode;
    this.#refusedData = !isAccepted;
    queueMicrotask(() => {
      this.#refusedData = false;
      const isEarly = !parser._dataMode || parser.dataBytes > 0 || parser._lastBytes !== false;
      if (isAccepted && isEarly) this.send(421, AHEAD_OF_TURN);
    });
  }

  override _onCommand(command: Buffer, callback?: () => void): void {
    if (this.#refusedData && !this.isGone) this.send(421, AHEAD_OF_TURN);
    else super._onCommand(command, callback);
  }

  /**
   * Our own grammar, so that nothing reads an address in two ways. False is answered 501 5.1.7 or
   * 5.1.3.
   */
  override _parseAddressCommand(name: string, command: Buffer | string): Parsed | false {
    const [, verb = '', path = '', parameters = ''] = PATH.exec(textOfCommand(command)) ?? [];
    if (verb.toUpperCase() !== name.toUpperCase()) return false;
    const address = addressOf(path, verb, this.name);
    const args = address === null ? null : parametersOf(parameters.trim());
    return address === null || args === null ? false : { address, ...args };
  }
}

function lineTooLong(): MailError {
  return new MailError(500, '5.5.2', 'Line too long');
}

/** '' for what is not UTF-8: it matches nothing. */
function textOfCommand(command: Buffer | string): string {
  if (typeof command === 'string') return command;
  try {
    return utf8.decode(command);
  } catch {
    return '';
  }
}

/** The address as written, if the grammar takes it; `<postmaster>` is ours (RFC 5321 §4.5.1). */
function addressOf(path: string, verb: string, name: string): string | null {
  if (path === '' && verb.toUpperCase() === 'MAIL FROM') return '';
  if (path.toLowerCase() === 'postmaster') return `postmaster@${name}`;
  const address = path.replace(SOURCE_ROUTE, '');
  return parseAddress(address) === null ? null : address;
}

function parametersOf(text: string): Pick<Parsed, 'args' | 'duplicate'> | null {
  if (text === '') return { args: false };
  const args: Record<string, string | true> = Object.create(null);
  const duplicates: string[] = [];
  const words = text.split(/ +/);
  if (words.length > PARAMETERS_MAX) return null;
  for (const word of words) {
    const match = PARAMETER.exec(word);
    if (match === null) return null;
    const key = (match[1] ?? '').toUpperCase();
    if (key in args) duplicates.push(key);
    args[key] = match[2] ?? true;
  }
  return duplicates[0] === undefined ? { args } : { args, duplicate: duplicates[0] };
}

/**
 * Answering requests in JSON: within what one message may hold, and in words where something
 * failed.
 */
import type { Msg } from 'nats';
import { MailError } from '../errors.ts';
import type { AskError } from './ask.ts';
import type { Nats } from './connect.ts';

const utf8 = new TextEncoder();

/** Where a node's own bug or a sick part keeps it from answering; the log has the rest. */
const FAILED: AskError = {
  code: 451,
  status: '4.3.0',
  text: 'something went wrong; the log of the node says what',
};

/**
 * The answer's bytes; an answer that no message can hold becomes `tooLarge` of the error that says
 * so.
 */
export function encodeReply(
  nats: Nats,
  value: unknown,
  tooLarge: (error: AskError) => unknown,
): Uint8Array {
  const bytes = utf8.encode(JSON.stringify(value ?? null));
  if (bytes.byteLength <= (nats.nc.info?.max_payload ?? 0)) return bytes;
  const text = 'the answer is too large for one message; ask for less';
  return utf8.encode(JSON.stringify(tooLarge({ code: 552, status: '5.3.4', text })));
}

/** What a stranger is told of anything thrown; what is not a MailError is a bug and logged once. */
export function errorReply(nats: Nats, subject: string, error: unknown): AskError {
  if (error instanceof MailError) {
    return { code: error.code, status: error.status, text: error.message };
  }
  nats.log.error({ subject, err: error }, 'a request could not be answered');
  return FAILED;
}

/** Sends an answer; a requester that went away, or a connection that closed, needs none. */
export function send(msg: Pick<Msg, 'respond'>, bytes: Uint8Array): void {
  try {
    msg.respond(bytes);
  } catch {
    // Closed meanwhile: the requester is told "no answer" by its own clock.
  }
}

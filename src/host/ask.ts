/** Requests on `troupe.ask`: what the host makes of a command or a question, as the reply that travels. */

import type { MailError } from '../errors.ts';
import { textOf } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { AskError, AskReply, AskRequest } from '../nats/ask.ts';
import type { Host } from './host.ts';

const errorOf = ({ code, status, message }: MailError): AskError => ({
  code,
  status,
  text: message,
});

/** Never rejects. Null: this node may not speak for the list any more, so it says nothing (design §9). */
export async function answerAsk(
  host: Host,
  node: string,
  key: ListKey,
  request: AskRequest,
): Promise<AskReply | null> {
  const reply = await replyTo(host, node, key, request);
  return host.mayAnswer(key) || !reply.ok ? reply : null;
}

async function replyTo(
  host: Host,
  node: string,
  key: ListKey,
  request: AskRequest,
): Promise<AskReply> {
  if ('question' in request) {
    const answer = host.question(key, request.question);
    if ('type' in answer && answer.type === 'refusal') return { ok: false, refusal: answer };
    return { ok: true, answer, node, ...host.position(key) };
  }
  const reply = await host.command(key, request);
  switch (reply.kind) {
    case 'answer': {
      const { answer, n, seq } = reply;
      return { ok: true, answer, node, epoch: host.position(key).epoch, seq, n };
    }
    case 'refusal':
      return { ok: false, refusal: reply.refusal };
    case 'failed':
      return { ok: false, error: errorOf(reply.error) };
    case 'bug':
      // Our fault, so the caller learns that it was not done, and the log what it was.
      return { ok: false, error: { code: 554, status: '5.3.0', text: textOf(reply.error) } };
  }
}

/** Requests on `troupe.ask`: what the host makes of a command or a question, as the reply that travels. */

import type { Question } from '../../actors/protocol.ts';
import { unreachable } from '../assert.ts';
import { MailError, textOf } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { AskError, AskReply, AskRequest } from '../nats/ask.ts';
import type { Asking } from './asking.ts';
import type { QuestionAnswer } from './questions.ts';

const errorOf = ({ code, status, message }: MailError): AskError => ({
  code,
  status,
  text: message,
});

/** Never rejects. Null: this node may not speak for the list any more, so it says nothing (design §9). */
export async function answerAsk(
  asking: Asking,
  node: string,
  key: ListKey,
  request: AskRequest,
): Promise<AskReply | null> {
  const reply = await replyTo(asking, node, key, request);
  const isAnswer = reply.ok || 'refusal' in reply; // A failure of the world says nothing of the list.
  return !isAnswer || asking.mayAnswer(key) ? reply : null;
}

async function answerTo(
  asking: Asking,
  key: ListKey,
  question: Question,
): Promise<QuestionAnswer | MailError> {
  if (question.ask !== 'inspect' && question.ask !== 'chain') return asking.question(key, question);
  const answer =
    question.ask === 'chain' ? asking.chain(key) : asking.inspect(key, question.level ?? 'fast');
  return await answer.catch((error: unknown) => {
    if (error instanceof MailError) return error;
    throw error;
  });
}

async function replyTo(
  asking: Asking,
  node: string,
  key: ListKey,
  request: AskRequest,
): Promise<AskReply> {
  if ('question' in request) {
    const answer = await answerTo(asking, key, request.question);
    if (answer instanceof MailError) return { ok: false, error: errorOf(answer) };
    if ('type' in answer && answer.type === 'refusal') return { ok: false, refusal: answer };
    return { ok: true, answer, node, ...asking.position(key) };
  }
  const reply = await asking.command(key, request);
  switch (reply.kind) {
    case 'answer': {
      const { answer, n, seq } = reply;
      return { ok: true, answer, node, epoch: asking.position(key).epoch, seq, n };
    }
    case 'refusal':
      return { ok: false, refusal: reply.refusal };
    case 'failed':
      return { ok: false, error: errorOf(reply.error) };
    case 'bug':
      // Our fault, so the caller learns that it was not done, and the log what it was.
      return { ok: false, error: { code: 554, status: '5.3.0', text: textOf(reply.error) } };
    default:
      return unreachable(reply);
  }
}

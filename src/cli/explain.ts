/**
 * What the command line says when something was refused or failed: one sentence, and the next step.
 * A bug is told with its stack, so that it can be reported.
 */
import type { Refusal } from '../../actors/protocol.ts';
import { MailError, OperatorError, textOf } from '../errors.ts';
import { clean, mark, type Out, toJson } from './print.ts';

/** A failure as programs read it on stderr with `--json`. */
export type Failure = {
  /** A refusal's code, an enhanced status such as `4.3.0`, `operator` or `bug`. */
  readonly code: string;
  readonly text: string;
  readonly nextStep: string;
};

const NEXT_STEPS: Partial<Record<Refusal['code'], string>> = {
  'no-such-list': 'See `troupe list ls`.',
  'no-such-hold': 'See `troupe hold ls LIST`.',
  'no-such-post': 'See `troupe post ls LIST`.',
  'not-a-member': 'See `troupe member ls LIST`.',
};

/** A refusal as an error that the operator can act on. */
export function refused(refusal: Refusal): OperatorError {
  return new OperatorError(refusal.text, NEXT_STEPS[refusal.code] ?? '', refusal);
}

/** Anything thrown by a verb, told apart. */
export function failureOf(error: unknown): Failure {
  if (error instanceof OperatorError) {
    return { code: codeOf(error.cause), text: error.message, nextStep: error.nextStep };
  }
  if (error instanceof MailError) {
    const nextStep = error.isTransient ? 'Try again in a moment.' : '';
    return { code: error.status, text: error.message, nextStep };
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : textOf(error);
  return { code: 'bug', text: stack, nextStep: 'This is a bug in Troupe: please report it.' };
}

function codeOf(cause: unknown): string {
  return isRefusalValue(cause) ? cause.code : 'operator';
}

/** True if a list said no, as against: it could not be asked. */
export function isRefusal(error: unknown): boolean {
  return error instanceof OperatorError && isRefusalValue(error.cause);
}

function isRefusalValue(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'refusal';
}

/** Tells a failure on stderr: JSON with `--json`, else two lines. */
export function explain(out: Out, error: unknown): void {
  const failure = failureOf(error);
  if (out.json) {
    out.note(toJson({ error: failure }));
    return;
  }
  for (const [i, line] of failure.text.split('\n').entries()) {
    out.note(i === 0 ? `${mark(out, 'fail', 'troupe:')} ${clean(line)}` : clean(line));
  }
  if (failure.nextStep !== '') out.note(failure.nextStep);
}

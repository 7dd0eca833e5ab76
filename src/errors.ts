/**
 * A failure of the world, with the status that mail gives it (RFC 3463).
 *
 * Its text is told to strangers, so it names no host, path or setting; what the operator needs is in
 * `cause`. Statuses `4.x.x` may be tried again; `5.x.x` are final.
 */
export type Status = `${4 | 5}.${number}.${number}`;

/** Carries an SMTP reply code, an enhanced status code and a text that a stranger may read. */
export class MailError extends Error {
  override readonly name = 'MailError';
  readonly code: number;
  readonly status: Status;

  constructor(code: number, status: Status, text: string, cause?: unknown) {
    super(text, cause === undefined ? {} : { cause });
    this.code = code;
    this.status = status;
  }

  /** True if the same thing may be tried again later. */
  get isTransient(): boolean {
    return this.code < 500;
  }
}

/** What is followed was replaced by something else of its name: what was read of it is no longer true. */
export class ReplacedError extends Error {
  override readonly name = 'ReplacedError';
}

/** The message of anything thrown. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * A start-up or command-line failure that an operator can mend: what is wrong, and the next step.
 * The program prints both, without a stack, and exits 1.
 */
export class OperatorError extends Error {
  override readonly name = 'OperatorError';
  readonly nextStep: string;

  constructor(what: string, nextStep: string, cause?: unknown) {
    super(what, cause === undefined ? {} : { cause });
    this.nextStep = nextStep;
  }
}

/** The words of a command line are wrong: nothing was asked of anybody. */
export class UsageError extends OperatorError {}

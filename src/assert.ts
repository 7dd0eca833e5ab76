/** What must be true. A failed assertion is a bug: the turn or the runner loop catches it and keeps the mail. */

/** Thrown by `assert` and `unreachable`; never an answer to a stranger. */
export class BugError extends Error {
  override readonly name = 'BugError';
}

/** Throws a {@link BugError} unless `claim` holds. */
export function assert(claim: unknown, why: string): asserts claim {
  if (!claim) throw new BugError(why);
}

/** The end of every `switch` on a union: a new member that nobody handles does not compile. */
export function unreachable(value: never): never {
  throw new BugError(`not reachable: ${JSON.stringify(value)}`);
}

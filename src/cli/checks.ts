/** What `troupe doctor` found: one line each, with the next step where one is needed. */
import { textOf } from '../errors.ts';

/** `fail`: mail waits or may be lost until someone acts. `warn`: someone should look. */
export type Check = {
  readonly what: string;
  readonly level: 'ok' | 'warn' | 'fail';
  readonly text: string;
};

export const ok = (what: string, text: string): Check => ({ what, level: 'ok', text });
export const warn = (what: string, text: string): Check => ({ what, level: 'warn', text });
export const fail = (what: string, text: string): Check => ({ what, level: 'fail', text });

/** A check that cannot be made is a failed check, and does not hide the others. */
export async function guarded(
  what: string,
  make: () => Promise<readonly Check[]>,
): Promise<readonly Check[]> {
  try {
    return await make();
  } catch (error) {
    return [fail(what, textOf(error))];
  }
}

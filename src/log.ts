/**
 * Logs: one JSON line an event, on stderr, with one trace id from the edge to the MTA.
 *
 * `warn`: an operator may look. `error`: mail waits for a person. `fatal`: we stop. Never a message body, never a
 * token. Log where a thing is handled, not where it is thrown on.
 */
import { pino } from 'pino';

type Write = (fields: Readonly<Record<string, unknown>>, text: string) => void;

export type Log = {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  readonly fatal: Write;
  child(fields: Readonly<Record<string, unknown>>): Log;
};

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** A log that writes JSON lines to stderr, at once (nothing is buffered that a crash could lose). */
export function createLog(level: LogLevel, fields: Readonly<Record<string, unknown>> = {}): Log {
  return pino(
    {
      level,
      base: fields,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** A log that says nothing, for tests and for tools whose output is for people. */
export const silentLog: Log = pino({ level: 'silent' });

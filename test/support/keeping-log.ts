/** A log that keeps what it is told. */
import { type Log, silentLog } from '../../src/log.ts';

type Fields = Readonly<Record<string, unknown>>;
type Level = 'debug' | 'info' | 'warn' | 'error' | 'fatal';

export function keepingLog(): { readonly log: Log; said(level: Level): readonly Fields[] } {
  const lines: { readonly level: Level; readonly fields: Fields }[] = [];
  const keep = (level: Level) => (fields: Fields) => void lines.push({ level, fields });
  const log: Log = {
    ...silentLog,
    debug: keep('debug'),
    info: keep('info'),
    warn: keep('warn'),
    error: keep('error'),
    fatal: keep('fatal'),
    child: () => log,
  };
  return {
    log,
    said: (level) => lines.filter((line) => line.level === level).map(({ fields }) => fields),
  };
}

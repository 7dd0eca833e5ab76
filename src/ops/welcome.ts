/** What `troupe serve` prints when it is ready: where it listens, and what to try next. */
import { SAMPLE_LIST } from './sample.ts';
import type { SiteNote } from './site-note.ts';

/** Plain text for a person; logs are JSON lines on stderr. */
export function welcome(note: SiteNote, hasSample: boolean, capturesMail: boolean): string {
  const lmtp = note.lmtpSocket ?? note.lmtpPort;
  const where = [
    ['SMTP', note.smtpPort],
    ['LMTP', lmtp],
    ['HTTP', note.httpPort === null ? null : note.httpUrl],
  ].filter(([, at]) => at !== null);
  const lines = [`Troupe is ready: ${where.map(([name, at]) => `${name} ${at}`).join(', ')}.`];
  if (hasSample && note.smtpPort !== null) {
    lines.push('', 'Send a post to the sample list:', '', `  ${sendLine(note.smtpPort)}`);
  }
  if (capturesMail) {
    lines.push('', 'See what came out (no MTA is configured, so it is kept and sent nowhere):', '');
    lines.push(`  npx troupe outbox        or ${note.httpUrl}/outbox`);
  }
  if (hasSample) lines.push('', `Look at a list:  npx troupe inspect list ${SAMPLE_LIST}`, '');
  else lines.push('', 'Look at the lists:  npx troupe list ls', '');
  return `${lines.join('\n')}\n`;
}

/** One line that any machine with curl can run. */
function sendLine(port: number): string {
  const mail =
    'From: me@example.org\\nTo: hello@lists.localhost\\nSubject: Hello\\n\\nIs this on?\\n';
  const to = `--mail-from me@example.org --mail-rcpt ${SAMPLE_LIST}`;
  return `printf '${mail}' | curl -sS smtp://127.0.0.1:${port} ${to} --upload-file -`;
}

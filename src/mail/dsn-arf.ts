/**
 * Complaints: feedback reports of mailbox providers (RFC 5965), and the form that Hotmail had before
 * it. Reports about authentication alone (RFC 6591) complain of nobody.
 */
import { addressesIn, addressOfField } from './dsn-address.ts';
import { readFields } from './dsn-fields.ts';
import type { Parts } from './dsn-parts.ts';

export type Complaint = {
  /** Who complains, where it is told: many providers hide it. */
  readonly recipient: string | null;
  /** `abuse`, `fraud`, `virus`, `opt-out`, `other`, …, in lower case. */
  readonly type: string;
};

const NO_COMPLAINT = /^(?:not-spam|auth-failure|dmarc)/;
const RECIPIENT_FIELDS = ['original-rcpt-to', 'removal-recipient', 'x-removal-recipient'] as const;

/** The complaint in a message; null if it is none, a string why what looks like one is none. */
export function complaintOf(parts: Parts): Complaint | string | null {
  const { header, type, feedback, original } = parts;
  const isMarked = /^feedback-report/i.test(type.parameters.get('report-type') ?? '');
  const isOld = /^complaint about message from /i.test(header.get('subject'));
  if (feedback === '' && !isMarked && !isOld) return null;
  const report = readFields(feedback.trimStart(), 0);
  const kind = report.get('feedback-type').toLowerCase() || 'abuse';
  if (NO_COMPLAINT.test(kind)) return `a feedback report of type ${kind.slice(0, 40)}`;
  for (const name of RECIPIENT_FIELDS) {
    const recipient = addressOfField(report.get(name));
    if (recipient !== null) return { recipient, type: kind };
  }
  const returned = readFields(original, 0);
  const named = returned.get('x-hmxmroriginalrecipient') || returned.get('to');
  return { recipient: addressesIn(named)[0]?.address ?? null, type: kind };
}

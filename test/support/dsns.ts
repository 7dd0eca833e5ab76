/** DSNs as an MTA writes them (RFC 3464), for tests that speak to the whole program. */

export type DsnOf = {
  /** The failed recipient. */
  readonly to: string;
  readonly status?: string;
  readonly diagnostic?: string;
  readonly action?: 'failed' | 'delayed';
};

/** CRLF ends; about a kilobyte. */
export function dsnFrom({
  to,
  status = '5.1.1',
  diagnostic = '550 5.1.1 <x> User unknown',
  action = 'failed',
}: DsnOf): Buffer {
  return Buffer.from(
    [
      'From: Mail Delivery System <MAILER-DAEMON@mx.example>',
      'Subject: Undelivered Mail Returned to Sender',
      'Message-ID: <dsn@mx.example>',
      'Auto-Submitted: auto-replied',
      'MIME-Version: 1.0',
      'Content-Type: multipart/report; report-type=delivery-status; boundary="b1"',
      '',
      '--b1',
      'Content-Type: text/plain; charset=us-ascii',
      '',
      'This is the mail system at host mx.example.',
      '',
      `<${to}>: ${diagnostic}`,
      '',
      '--b1',
      'Content-Type: message/delivery-status',
      '',
      'Reporting-MTA: dns; mx.example',
      '',
      `Final-Recipient: rfc822; ${to}`,
      `Action: ${action}`,
      `Status: ${status}`,
      `Diagnostic-Code: smtp; ${diagnostic}`,
      '',
      '--b1',
      'Content-Type: text/rfc822-headers',
      '',
      'Subject: a post',
      '',
      '--b1--',
      '',
    ].join('\r\n'),
  );
}

/** A complaint of a mailbox provider (RFC 5965), with these fields in the mail that it returns. */
export function complaintWith(...fields: readonly string[]): string {
  return [
    'From: feedback@big.example',
    'Subject: FW: a post',
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=feedback-report; boundary="b"',
    '',
    '--b',
    'Content-Type: text/plain',
    '',
    'This is an abuse report.',
    '--b',
    'Content-Type: message/feedback-report',
    '',
    'Feedback-Type: abuse',
    'User-Agent: Big/1.0',
    'Version: 1',
    '',
    '--b',
    'Content-Type: message/rfc822',
    '',
    ...fields,
    'Subject: a post',
    '',
    'hello',
    '--b--',
    '',
  ].join('\r\n');
}

/** One mail over a connection of SMTP or LMTP, as an MTA sends it. */
import { connectSmtp, type SmtpClient, type SmtpReply } from './smtp-client.ts';

export type Outbound = {
  readonly sender: string;
  readonly recipients: readonly string[];
  /** With CRLF ends; not yet dot-stuffed. */
  readonly message: Buffer;
  /** Asks for BODY=8BITMIME. */
  readonly eightBit?: boolean;
};

/** Reads the greeting and says hello. */
export async function greet(client: SmtpClient, isLmtp = false): Promise<void> {
  await client.read();
  await client.sayAll(`${isLmtp ? 'LHLO' : 'EHLO'} client.example`);
}

/**
 * Sends one mail and gives the reply to its final dot, or the first that was no success; the
 * connection is ready for the next either way. Rejects when the connection ends.
 */
export async function sendMail(client: SmtpClient, mail: Outbound): Promise<SmtpReply> {
  const [reply] = await sendMailToEach(client, mail, 1);
  return reply ?? { code: 0, status: '', lines: [] };
}

/** One mail over a connection of its own to a server on loopback; the reply that {@link sendMail} gives. */
export async function sendOnce(port: number, mail: Outbound): Promise<SmtpReply> {
  const client = await connectSmtp(port);
  try {
    await greet(client);
    return await sendMail(client, mail);
  } finally {
    client.drop();
  }
}

/** The same over LMTP, which answers the final dot once for each of its recipients. */
export async function sendMailToEach(
  client: SmtpClient,
  { sender, recipients, message, eightBit }: Outbound,
  answers: number,
): Promise<readonly SmtpReply[]> {
  const commands = [
    `MAIL FROM:<${sender}>${eightBit === true ? ' BODY=8BITMIME' : ''}`,
    ...recipients.map((recipient) => `RCPT TO:<${recipient}>`),
    'DATA',
  ];
  for (const command of commands) {
    const reply = await client.say(command);
    if (reply.code < 400) continue;
    await client.say('RSET');
    return [reply];
  }
  await client.write(Buffer.concat([stuffed(message), Buffer.from('.\r\n')]));
  const replies: SmtpReply[] = [];
  for (let i = 0; i < answers; i++) replies.push(await client.read());
  return replies;
}

/** RFC 5321 §4.5.2; and a last line without an end is given one, as every MTA does. */
export function stuffed(message: Buffer): Buffer {
  const text = message.toString('latin1').replaceAll('\r\n.', '\r\n..').replace(/^\./, '..');
  return Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1');
}

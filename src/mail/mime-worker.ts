/**
 * The worker thread in which mailparser runs: a message in, a small summary out. It has no state,
 * so it may be ended at any moment; its memory is bounded by who started it (mime.ts).
 */
import { parentPort } from 'node:worker_threads';
import { simpleParser } from 'mailparser';
import { assert } from '../assert.ts';
import { ATTACHMENTS_NAMED_MAX, type MimeJob, type MimeReply } from './mime.ts';

/** Everything that costs and is not needed for a summary is off. */
const OPTIONS = {
  skipImageLinks: true,
  skipTextToHtml: true,
  skipTextLinks: true,
  maxHtmlLengthToParse: 1024 * 1024,
};

async function summaryOf({ raw, textLengthMax }: MimeJob): Promise<MimeReply> {
  try {
    const mail = await simpleParser(Buffer.from(raw.buffer, raw.byteOffset, raw.length), OPTIONS);
    return {
      text: (mail.text ?? '').slice(0, textLengthMax).toWellFormed(),
      attachments: mail.attachments.slice(0, ATTACHMENTS_NAMED_MAX).map((attachment) => ({
        name: (attachment.filename ?? '').slice(0, 255),
        type: attachment.contentType,
        bytes: attachment.size,
      })),
    };
  } catch {
    return { problem: 'unreadable' };
  }
}

assert(parentPort !== null, 'mime-worker is started by mime.ts only');
const port = parentPort;
port.on('message', (job: MimeJob) => {
  void summaryOf(job).then((reply) => port.postMessage(reply));
});

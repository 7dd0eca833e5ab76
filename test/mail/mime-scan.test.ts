/** The structure of a message is bounded before any parser sees it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MIME_DEPTH_MAX, MIME_PARTS_MAX, scanMime } from '../../src/mail/mime-scan.ts';
import { expectLinear } from '../support/linear.ts';

const scan = (...lines: string[]) => scanMime(Buffer.from(lines.join('\r\n')));

/** A multipart whose one part is a multipart, and so on. */
function nested(depth: number): string {
  let text = '';
  for (let i = 0; i < depth; i++)
    text += `Content-Type: multipart/mixed; boundary="b${i}"\r\n\r\n--b${i}\r\n`;
  return `${text}\r\nbottom\r\n`;
}

const flat = (parts: number) =>
  `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nx\r\n'.repeat(parts)}--b--\r\n`;

const messages = (depth: number) =>
  `${'Content-Type: message/rfc822\r\n\r\n'.repeat(depth)}\r\nbottom`;

describe('what is counted', () => {
  test('a plain message is one part', () => {
    expect(scan('Subject: x', '', '--b', 'not a part')).toEqual({
      depth: 0,
      parts: 1,
      problem: null,
    });
    expect(scan('')).toEqual({ depth: 0, parts: 1, problem: null });
  });

  test('each part of a multipart, with LF or CRLF ends', () => {
    expect(scanMime(Buffer.from(flat(3)))).toEqual({ depth: 1, parts: 4, problem: null });
    expect(scanMime(Buffer.from(flat(3).replaceAll('\r', '')))).toMatchObject({ parts: 4 });
  });

  test('multiparts in multiparts, back out again', () => {
    const shape = scan(
      'Content-Type: multipart/mixed; boundary=outer',
      '',
      '--outer',
      'Content-Type: multipart/alternative;',
      ' boundary=inner',
      '',
      '--inner',
      '',
      'text',
      '--inner--',
      '--outer',
      '',
      '--inner',
      'not a part: its multipart is closed',
      '--outer--',
    );
    expect(shape).toEqual({ depth: 2, parts: 4, problem: null });
  });

  test('messages in messages, and the multiparts inside them', () => {
    expect(scanMime(Buffer.from(messages(3)))).toMatchObject({ depth: 3, problem: null });
    const forwarded = `Content-Type: message/rfc822\r\n\r\n${flat(2)}`;
    expect(scanMime(Buffer.from(forwarded))).toMatchObject({ depth: 2, parts: 3 });
  });

  test('what is encoded is not looked into', () => {
    const encoded = 'Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n';
    expect(scanMime(Buffer.from(`${encoded}${flat(9)}`))).toMatchObject({ depth: 0, parts: 1 });
  });

  test('a boundary in pieces is a boundary (RFC 2231)', () => {
    const text = flat(3).replace('boundary=b', 'boundary*0=""; boundary*1=b');
    expect(scanMime(Buffer.from(text))).toMatchObject({ parts: 4 });
  });

  test('a multipart without a boundary has no parts, and one that is not closed has those it has', () => {
    expect(scan('Content-Type: multipart/mixed', '', '--', '--')).toMatchObject({ parts: 1 });
    expect(scan('Content-Type: multipart/mixed; boundary=b', '', '--b', '', 'x')).toMatchObject({
      parts: 2,
      problem: null,
    });
  });
});

describe('bounds (reliability §4.3 rows 18 to 20)', () => {
  test('50 deep passes, 51 does not', () => {
    expect(scanMime(Buffer.from(nested(MIME_DEPTH_MAX))).problem).toBeNull();
    expect(scanMime(Buffer.from(nested(MIME_DEPTH_MAX + 1))).problem).toBe('too-deep');
    expect(scanMime(Buffer.from(nested(1_000))).problem).toBe('too-deep');
  });

  test('messages inside each other count as deep', () => {
    expect(scanMime(Buffer.from(messages(MIME_DEPTH_MAX))).problem).toBeNull();
    expect(scanMime(Buffer.from(messages(1_000))).problem).toBe('too-deep');
  });

  test('500 parts pass, 501 do not, nor do 100,000', () => {
    expect(scanMime(Buffer.from(flat(MIME_PARTS_MAX - 1))).problem).toBeNull();
    expect(scanMime(Buffer.from(flat(MIME_PARTS_MAX))).problem).toBe('too-many-parts');
    expect(scanMime(Buffer.from(flat(100_000))).problem).toBe('too-many-parts');
  });

  test('a multipart inside itself is bounded too', () => {
    const part = 'Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n';
    expect(scanMime(Buffer.from(part.repeat(1_000))).problem).not.toBeNull();
  });
});

test('nothing throws on any bytes', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'Content-Type: multipart/mixed; boundary=b',
      'Content-Type: message/rfc822',
      'content-transfer-encoding: base64',
      '\r\n',
      '\n',
      '\n\n',
      '--b',
      '--b--',
      '--',
      ' boundary=c',
    ),
    fc.string({ unit: 'binary', maxLength: 5 }),
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const shape = scanMime(Buffer.from(pieces.join('')));
      expect(shape.parts).toBeGreaterThan(0);
    }),
  );
});

test('the cost is linear, whatever the lines say', () => {
  const multipart = 'Content-Type: multipart/mixed; boundary=bb\n\n';
  const shapes = ['\n--', '--', '\n--b', '\n--bbb', '\n', '-', ' \n', `--${'x'.repeat(390)}\n`];
  for (const shape of shapes)
    for (const start of [multipart, `${multipart}--bb\n`, 'Content-Type: '])
      expectLinear(
        (n) => Buffer.from(start + shape.repeat(n)),
        scanMime,
        Math.ceil(100_000 / shape.length),
      );
});

import { describe, expect, test } from 'vitest';
import { parseProxyHeader } from '../../src/smtp/proxy-header.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const line = (text: string): Buffer => Buffer.from(text, 'latin1');
const hex = (...parts: readonly string[]): Buffer => Buffer.from(parts.join(''), 'hex');
const IPV4 = 'c0000207cb007109dc040019'; // 192.0.2.7 to 203.0.113.9.
const IPV6 = `20010db8000000000000000000000001${'20010db8000000000000000000000002'}dc040019`;

const header = (client: string | null, bytes: number) => ({ kind: 'header', client, bytes });

describe('version 1', () => {
  test.each([
    ['PROXY TCP4 192.0.2.7 203.0.113.9 56324 25\r\n', '192.0.2.7'],
    ['PROXY TCP6 2001:DB8:0:0:0::1 2001:db8::2 56324 25\r\n', '2001:db8::1'],
    ['PROXY TCP6 ::ffff:192.0.2.7 2001:db8::2 56324 25\r\n', '::ffff:192.0.2.7'],
    ['PROXY UNKNOWN\r\n', null],
    ['PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n', null],
  ])('%j speaks for %s', (text, client) => {
    expect(parseProxyHeader(line(`${text}EHLO x\r\n`))).toEqual(header(client, text.length));
    for (let length = 0; length < text.length; length++) {
      expect(parseProxyHeader(line(text.slice(0, length))).kind).toBe('incomplete');
    }
  });

  test.each([
    'EHLO mta.x.example\r\n',
    'PROXY\r\n',
    'proxy TCP4 192.0.2.7 203.0.113.9 56324 25\r\n',
    'PROXY TCP4 192.0.2.7 203.0.113.9 56324\r\n',
    'PROXY TCP4 192.0.2.7 203.0.113.9 56324 25 more\r\n',
    'PROXY TCP4 192.0.2.7  203.0.113.9 56324 25\r\n',
    'PROXY TCP4 2001:db8::1 2001:db8::2 56324 25\r\n',
    'PROXY TCP6 192.0.2.7 203.0.113.9 56324 25\r\n',
    'PROXY TCP4 192.0.2.7 x 56324 25\r\n',
    'PROXY TCP4 192.0.2.7 203.0.113.9 port 25\r\n',
    'PROXY UDP4 192.0.2.7 203.0.113.9 56324 25\r\n',
    `PROXY UNKNOWN ${'x'.repeat(100)}\r\n`,
    '\0',
  ])('%j is malformed', (text) => {
    expect(parseProxyHeader(line(text)).kind).toBe('malformed');
  });
});

describe('version 2', () => {
  test.each([
    ['IPv4', hex(SIGNATURE, '21', '11', '000c', IPV4), '192.0.2.7'],
    ['IPv6', hex(SIGNATURE, '21', '21', '0024', IPV6), '2001:db8::1'],
    ['IPv4 with extensions', hex(SIGNATURE, '21', '11', '0010', IPV4, '04000161'), '192.0.2.7'],
    ['a Unix socket', hex(SIGNATURE, '21', '31', '00d8', '00'.repeat(216)), null],
    ['nobody known', hex(SIGNATURE, '21', '00', '0000'), null],
    ['the proxy itself', hex(SIGNATURE, '20', '11', '000c', IPV4), null],
  ])('speaks for %s', (_, bytes, client) => {
    const more = Buffer.concat([bytes, line('EHLO x\r\n')]);
    expect(parseProxyHeader(more)).toEqual(header(client, bytes.length));
    for (let length = 0; length < bytes.length; length++) {
      expect(parseProxyHeader(bytes.subarray(0, length)).kind).toBe('incomplete');
    }
  });

  test.each([
    ['another signature', hex('0d0a0d0a000d0a515549540b', '21', '11', '000c', IPV4)],
    ['another version', hex(SIGNATURE, '11', '11', '000c', IPV4)],
    ['another command', hex(SIGNATURE, '22', '11', '000c', IPV4)],
    ['datagrams', hex(SIGNATURE, '21', '12', '000c', IPV4)],
    ['an address that is cut', hex(SIGNATURE, '21', '21', '000c', IPV4)],
    ['more than is taken', hex(SIGNATURE, '21', '11', '1001')],
  ])('with %s is malformed', (_, bytes) => {
    expect(parseProxyHeader(bytes).kind).toBe('malformed');
  });
});

/** Loops are stopped, and automatic mail is known. */
import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/mail/address.ts';
import { type Header, isProblem, parseHeader } from '../../src/mail/header.ts';
import { isAutomatic, loopOfAny, loopOfPost, RECEIVED_MAX } from '../../src/mail/loops.ts';

const DEV = parseAddress('dev@lists.example') ?? expect.unreachable();
const JANE = parseAddress('jane@example.org') ?? expect.unreachable();

function header(...lines: string[]): Header {
  const parsed = parseHeader(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`));
  return isProblem(parsed) ? expect.unreachable() : parsed;
}

describe('a post has been here before', () => {
  test.each([
    ['List-Id: <dev.lists.example>', 'own-list-id'],
    ['List-ID: "The <dev> list" <DEV.Lists.Example>', 'own-list-id'],
    ['List-Id: dev.lists.example', 'own-list-id'],
    ['List-Post: <mailto:dev@lists.example>', 'own-list-post'],
    ['List-Post: <https://x.example/>, <mailto:Dev@LISTS.example?subject=x>', 'own-list-post'],
    ['X-Loop: dev@lists.example', 'own-loop-mark'],
  ])('%s', (line, loop) => {
    expect(loopOfPost(header('From: a@x.example', line), DEV)).toBe(loop);
  });

  test.each([
    'Subject: hello',
    'List-Id: <other.lists.example>',
    'List-Id: <dev.lists.example.org>',
    'List-Id: <xdev.lists.example>',
    'List-Post: <mailto:other@lists.example>',
    'List-Post: NO',
    'X-Loop: dev-owner@lists.example',
    'X-Loop: other',
  ])('unless it only says %s', (line) => {
    expect(loopOfPost(header('From: a@x.example', line), DEV)).toBeNull();
  });

  test('any one of several fields is enough', () => {
    const both = header('List-Id: <other.example>', 'List-Id: <dev.lists.example>');
    expect(loopOfPost(both, DEV)).toBe('own-list-id');
    const marks = header('X-Loop: other@lists.example', 'X-Loop: dev@lists.example');
    expect(loopOfPost(marks, DEV)).toBe('own-loop-mark');
  });

  test('more than 50 hops are a loop', () => {
    const hops = (count: number) => header(...new Array<string>(count).fill('Received: by x'));
    expect(loopOfPost(hops(RECEIVED_MAX), DEV)).toBeNull();
    expect(loopOfPost(hops(RECEIVED_MAX + 1), DEV)).toBe('too-many-hops');
  });
});

test('members may send our own posts to the owners; only the owners’ own mark stops those', () => {
  const owner = parseAddress('dev-owner@lists.example') ?? expect.unreachable();
  const post = header('List-Id: <dev.lists.example>', 'X-Loop: dev@lists.example');
  expect(loopOfAny(post, owner)).toBeNull();
  expect(loopOfAny(header('X-Loop: dev-owner@lists.example'), owner)).toBe('own-loop-mark');
});

describe('automatic mail is never answered', () => {
  test('a null sender', () => {
    expect(isAutomatic(header('From: a@x.example'), '')).toBe(true);
  });

  test.each([
    ['Auto-Submitted: auto-replied', true],
    ['Auto-Submitted: auto-generated (x)', true],
    ['Auto-Submitted: none-such', true],
    ['Auto-Submitted:', true],
    ['Auto-Submitted: no', false],
    ['Auto-Submitted: No; x=y', false],
    ['Precedence: bulk', true],
    ['Precedence: Junk', true],
    ['Precedence: list', true],
    ['Precedence: normal', false],
    ['Precedence: first-class', false],
    ['Subject: hello', false],
  ])('%s: %s', (line, automatic) => {
    expect(isAutomatic(header(line), JANE)).toBe(automatic);
  });
});

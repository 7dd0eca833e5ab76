/** Addresses in header fields, as mailers have written them over forty years. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ADDRESS_LIST_MAX, parseAddressList } from '../../src/mail/address-list.ts';
import { expectLinear } from '../support/linear.ts';

const read = (value: string) => parseAddressList(value).map(({ name, address }) => [name, address]);

test.each<[string, string[][]]>([
  ['jane@example.org', [['', 'jane@example.org']]],
  ['<jane@example.org>', [['', 'jane@example.org']]],
  ['Jane Doe <jane@example.org>', [['Jane Doe', 'jane@example.org']]],
  ['"Doe, Jane" <jane@example.org>', [['Doe, Jane', 'jane@example.org']]],
  ['"Jane \\"J\\" Doe" <jane@example.org>', [['Jane "J" Doe', 'jane@example.org']]],
  ['=?utf-8?q?J=C3=BCrgen?= <j@example.org>', [['Jürgen', 'j@example.org']]],
  ['jane@example.org (Jane Doe)', [['Jane Doe', 'jane@example.org']]],
  ['Jane (a (nested \\) one) comment) <jane@example.org>', [['Jane', 'jane@example.org']]],
  [
    'jane@example.org, joe@example.net',
    [
      ['', 'jane@example.org'],
      ['', 'joe@example.net'],
    ],
  ],
  [
    'a@x.example,, ,b@y.example,',
    [
      ['', 'a@x.example'],
      ['', 'b@y.example'],
    ],
  ],
  [
    'Friends: a@x.example, B <b@y.example>; c@z.example',
    [
      ['', 'a@x.example'],
      ['B', 'b@y.example'],
      ['', 'c@z.example'],
    ],
  ],
  ['undisclosed-recipients:;', []],
  ['Nobody: ;', []],
  ['<@a.example,@b.example:jane@example.org>', [['', 'jane@example.org']]],
  ['jane @ example . org', [['', 'jane@example.org']]],
  ['"jane"@example.org', [['', 'jane@example.org']]],
  ['"a@b" <jane@example.org>', [['a@b', 'jane@example.org']]],
  ['"president@example.gov" <jane@example.org>', [['president@example.gov', 'jane@example.org']]],
  ['<"a@b"@example.org>', [['', '"a@b"@example.org']]],
  ['a@x.example <b@y.example>', [['a@x.example', 'b@y.example']]],
  [
    '<a@x.example> <b@y.example>',
    [
      ['', 'a@x.example'],
      ['', 'b@y.example'],
    ],
  ],
  ['Jane <jane@example.org', [['Jane', 'jane@example.org']]],
  ['"Jane <jane@example.org>', []],
  ['(Jane <jane@example.org>', []],
  ['Jane', []],
  ['', []],
  ['<>', []],
  ['<mailto:jane@example.org>', []],
  [
    'a@x.example; b@y.example',
    [
      ['', 'a@x.example'],
      ['', 'b@y.example'],
    ],
  ],
])('%j is read', (value, expected) => {
  expect(read(value)).toEqual(expected);
});

test('a name holds no control character', () => {
  expect(read('=?utf-8?q?a=0D=0AX=3A_y?= <jane@example.org>')).toEqual([
    ['a  X: y', 'jane@example.org'],
  ]);
});

test('what is no address is left out and the rest is read', () => {
  expect(read('bad@, a b@x.example, [x]@y, ok@z.example')).toEqual([
    ['', 'ab@x.example'],
    ['', 'ok@z.example'],
  ]);
});

test('at most 1,000 addresses are read', () => {
  expect(parseAddressList('a@x.example,'.repeat(5_000))).toHaveLength(ADDRESS_LIST_MAX);
});

test('what is written by the rules is read back', () => {
  const mailbox = fc.record({
    name: fc.string({ unit: fc.constantFrom(...'abZ ,<>"\\();:@') }).map((name) => name.trim()),
    address: fc.stringMatching(/^[a-z]{1,8}(\.[a-z]{1,8})?@[a-z]{1,8}\.example$/),
  });
  fc.assert(
    fc.property(fc.array(mailbox), (boxes) => {
      const value = boxes
        .map(({ name, address }) => `"${name.replace(/["\\]/g, '\\$&')}" <${address}>`)
        .join(', ');
      expect(read(value)).toEqual(boxes.map(({ name, address }) => [name, address]));
    }),
  );
});

test('nothing throws', () => {
  const piece = fc.constantFrom(...'<>,;:"\\()@. ab\0\r\né=?');
  fc.assert(
    fc.property(fc.string({ unit: piece, maxLength: 60 }), (any) => void parseAddressList(any)),
  );
});

test('the cost is linear', () => {
  for (const shape of [
    '<',
    '>',
    '(',
    ')',
    '"',
    '\\',
    ',',
    ':',
    '<a:',
    '<@',
    '@',
    'a ',
    ' ',
    'a@b,',
    '(\\',
  ])
    expectLinear(
      (n) => `${shape}${shape.repeat(n)}`,
      parseAddressList,
      Math.floor(5_000 / shape.length),
    );
});

/** The prefix on a Subject: once, and without touching what the author wrote. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeWords } from '../../src/mail/encoded-words.ts';
import { assemble } from '../../src/mail/pieces.ts';
import { prefixedSubject } from '../../src/mail/subject-prefix.ts';
import { text } from './cook-support.ts';

function prefixed(value: string | null, prefix = '[dev]'): string | null {
  const raw = value === null ? null : Buffer.from(`${value}\r\n`, 'utf8');
  const pieces = prefixedSubject(prefix, raw);
  return pieces === null ? null : Buffer.from(assemble(pieces).bytes).toString('utf8');
}

test.each([
  [' Hello', 'Subject: [dev] Hello\r\n'],
  ['Hello', 'Subject: [dev] Hello\r\n'],
  ['   Hello  ', 'Subject: [dev] Hello  \r\n'],
  [' Re: Hello', 'Subject: [dev] Re: Hello\r\n'],
  [' Hello (was: [dev] Bye)', 'Subject: [dev] Hello (was: [dev] Bye)\r\n'],
  [' [devel] Hello', 'Subject: [dev] [devel] Hello\r\n'],
  [' Reform: Hello', 'Subject: [dev] Reform: Hello\r\n'],
  [' =?iso-8859-1?q?Gr=FC=DFe?= all', 'Subject: [dev] =?iso-8859-1?q?Gr=FC=DFe?= all\r\n'],
  [
    ' =?utf-8?b?0J/RgNC40LLQtdGC?=\r\n =?iso-8859-1?q?_Gr=FC=DFe?=',
    'Subject: [dev] =?utf-8?b?0J/RgNC40LLQtdGC?=\r\n =?iso-8859-1?q?_Gr=FC=DFe?=\r\n',
  ],
  ['\r\n folded at once', 'Subject: [dev] folded at once\r\n'],
  [' Grüße', 'Subject: [dev] Grüße\r\n'],
])('%j gets the prefix before it', (value, expected) => {
  expect(prefixed(value)).toBe(expected);
});

test.each([
  ' [dev] Hello',
  ' Re: [dev] Hello',
  ' RE: Re: [DEV] Hello',
  ' AW: Antw: Fwd: [dev]Hello',
  ' Re[2]: [dev] Hello',
  ' 回复:[dev] Hello',
  ' [dev] Re: [dev] Hello',
  ' =?utf-8?q?Re=3A_=5Bdev=5D_Gr=C3=BC=C3=9Fe?=',
  ' Re:\r\n [dev] Hello',
  ' [dev]',
])('%j has it already and stays as it is', (value) => {
  expect(prefixed(value)).toBeNull();
});

test.each([null, '', '   ', ' \r\n ', ' =?utf-8?q??='])(
  '%j is no subject, and is given one',
  (value) => {
    expect(prefixed(value)).toBe('Subject: [dev] (no subject)\r\n');
  },
);

test('no prefix means no change, even where there is no subject', () => {
  expect(prefixed(' Hello', '')).toBeNull();
  expect(prefixed(null, ' \r\n ')).toBeNull();
});

test('a subject that fills its line is folded after the prefix and keeps its own folds', () => {
  const long = `${'x'.repeat(65)} y\r\n\t${'z'.repeat(900)}`;
  expect(prefixed(` ${long}`)).toBe(`Subject: [dev]\r\n ${long}\r\n`);
});

test('a prefix that is not ASCII is encoded, and keeps its blank before an encoded word', () => {
  const plain = prefixed(' Hello', '[грÿппа]') ?? '';
  expect(plain).toMatch(/^Subject: =\?utf-8\?B\?\S+\?= Hello\r\n$/);
  expect(decodeWords(plain)).toContain('[грÿппа] Hello');
  expect(decodeWords(prefixed(' =?utf-8?q?=C3=A9t=C3=A9?=', '[é]') ?? '')).toContain('[é] été');
});

test('putting it twice is putting it once, and the words of the author are all there', () => {
  const subject = fc.string({ unit: 'grapheme', maxLength: 120 });
  fc.assert(
    fc.property(subject, fc.constantFrom('[dev]', '[é]', 'list:'), (words, prefix) => {
      const value = words.replace(/[\r\n]/g, '');
      const once = prefixed(` ${value}`, prefix);
      if (once === null) return;
      expect(text(Buffer.from(once)).match(/\r\n/g)?.length).toBeLessThanOrEqual(8);
      const trimmed = value.replace(/^[ \t]+/, '');
      if (trimmed.trim() !== '' && !trimmed.includes('=?'))
        expect(once).toContain(trimmed.trimEnd());
      expect(prefixed(once.slice('Subject:'.length, -2), prefix)).toBeNull();
    }),
  );
});

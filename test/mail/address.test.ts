/** The grammar of addresses: what is one, what is refused, and what is equal. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Address,
  addressKey,
  domainOf,
  isSmtputf8,
  localPartOf,
  parseAddress,
  parseDomain,
  parseListAddress,
} from '../../src/mail/address.ts';
import { expectLinear } from '../support/linear.ts';

const ATOM = fc.string({
  unit: fc.constantFrom(..."abzAZ09!#$%&'*+-/=?^_`{|}~éßЖ中"),
  minLength: 1,
  maxLength: 10,
});
const LABEL = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const LOCAL = fc.oneof(
  fc.array(ATOM, { minLength: 1, maxLength: 3 }).map((atoms) => atoms.join('.')),
  fc
    .string({ unit: fc.constantFrom(...'ab@,<>.\\"()[]:;'), minLength: 1, maxLength: 12 })
    .map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`),
);
const DOMAIN = fc.array(LABEL, { maxLength: 3 }).map((labels) => [...labels, 'example'].join('.'));

describe('what is an address', () => {
  test.each([
    ['jane@example.org', 'jane@example.org'],
    ['Jane.Doe+tag@Example.ORG', 'Jane.Doe+tag@example.org'],
    ['hello@localhost', 'hello@localhost'],
    ["o'hara=x/y@a-b.example", "o'hara=x/y@a-b.example"],
    ['"jane"@example.org', 'jane@example.org'],
    ['"jane.doe"@example.org', 'jane.doe@example.org'],
    ['"a@b"@example.org', '"a@b"@example.org'],
    ['"a\\b"@example.org', 'ab@example.org'],
    ['"a..b"@example.org', '"a..b"@example.org'],
    ['"q\\"q"@example.org', '"q\\"q"@example.org'],
    ['jürgen@bücher.example', 'jürgen@xn--bcher-kva.example'],
    ['ju\u0308rgen@BU\u0308CHER.example', 'jürgen@xn--bcher-kva.example'],
    ['jane@xn--bcher-kva.example', 'jane@xn--bcher-kva.example'],
    ['用户@例え。テスト', '用户@xn--r8jz45g.xn--zckzah'],
    [`${'a'.repeat(64)}@example.org`, `${'a'.repeat(64)}@example.org`],
  ])('%s is read as %s', (text, address) => {
    expect(parseAddress(text)).toBe(address);
  });

  test.each([
    '',
    '@',
    'jane',
    'jane@',
    '@example.org',
    'a b@example.org',
    '"a b"@example.org',
    ' jane@example.org',
    'jane@example.org ',
    'jane@example.org\r\n',
    'jane@example.org\r\nBcc: x@example.org',
    'ja\0ne@example.org',
    '"ja\0ne"@example.org',
    'jane\n@example.org',
    'ja\u0085ne@example.org',
    'ja\u2028ne@example.org',
    'ja\ud800ne@example.org',
    'ja\ufffdne@example.org',
    'jane@[192.0.2.1]',
    'jane@[IPv6:2001:db8::1]',
    'jane@192.0.2.1',
    'jane@１９２.０.２.１',
    '@a.example:jane@example.org',
    '@a.example,@b.example:jane@example.org',
    'jane(comment)@example.org',
    '(comment)jane@example.org',
    '<jane@example.org>',
    'a@b@example.org',
    '.jane@example.org',
    'jane.@example.org',
    'ja..ne@example.org',
    '"jane@example.org',
    '"ja"ne"@example.org',
    '""@example.org',
    'jane@example..org',
    'jane@.example.org',
    'jane@example.org.',
    'jane@-example.org',
    'jane@example-.org',
    'jane@exa_mple.org',
    'jane@exämple.org/x',
    'jane@exämple.org:25',
    'jane@exä%6dple.org',
    'jane@exämple.org／x',
    `jane@${'a'.repeat(64)}.org`,
    `${'a'.repeat(65)}@example.org`,
    `${'é'.repeat(33)}@example.org`,
    `a@${'b.'.repeat(130)}org`,
    `jane@${'a.'.repeat(100_000)}org`,
  ])('%j is refused', (text) => {
    expect(parseAddress(text)).toBeNull();
  });

  test('an address has at most 254 octets, of which the local part has 64', () => {
    const domain = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(57)}.org`;
    expect(domain).toHaveLength(189);
    expect(parseAddress(`${'j'.repeat(64)}@${domain}`)).toHaveLength(254);
    expect(parseAddress(`${'j'.repeat(64)}@x${domain}`)).toBeNull();
    expect(parseAddress(`${'é'.repeat(32)}@${domain}`)).not.toBeNull();
    expect(parseAddress(`${'é'.repeat(32)}@x${domain}`)).toBeNull();
  });
});

describe('what is equal', () => {
  const key = (text: string) => addressKey(parseAddress(text) ?? expect.unreachable(text));

  test('case is kept in the local part, and ignored for membership', () => {
    expect(parseAddress('Jane@EXAMPLE.org')).toBe('Jane@example.org');
    expect(key('Jane@EXAMPLE.org')).toBe(key('jane@example.org'));
  });

  test('composed and decomposed letters, U-labels and A-labels are one address', () => {
    expect(key('J\u00dcRGEN@b\u00fccher.example')).toBe(key('ju\u0308rgen@xn--bcher-kva.example'));
  });

  test('quotes that are not needed make no difference', () => {
    expect(key('"jane"@example.org')).toBe(key('jane@example.org'));
  });

  test('letters that only look alike stay apart', () => {
    expect(key('jаne@example.org')).not.toBe(key('jane@example.org'));
    expect(key('mıke@example.org')).not.toBe(key('mike@example.org'));
  });
});

test('an address falls into its local part and its domain', () => {
  const address = parseAddress('"a@b"@example.org') ?? expect.unreachable();
  expect(localPartOf(address)).toBe('"a@b"');
  expect(domainOf(address)).toBe('example.org');
});

test('only a local part beyond ASCII needs SMTPUTF8: domains are A-labels', () => {
  expect(isSmtputf8(parseAddress('jürgen@example.org') ?? expect.unreachable())).toBe(true);
  expect(isSmtputf8(parseAddress('jane@bücher.example') ?? expect.unreachable())).toBe(false);
});

test('a domain is read into lower-case A-labels', () => {
  expect(parseDomain('Bücher.Example')).toBe('xn--bcher-kva.example');
  expect(parseDomain('127.0.0.1')).toBeNull();
  expect(parseDomain('ex ample')).toBeNull();
});

describe('the name of a list', () => {
  const domains = [
    'lists.example',
    `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(40)}`,
  ];

  test.each([
    'dev@lists.example',
    'a@lists.example',
    '9-lives@lists.example',
    'a.b_c-d@lists.example',
    `${'n'.repeat(52)}@lists.example`,
  ])('%s may name a list', (text) => {
    expect(parseListAddress(text, domains)).toBe(text);
  });

  test('upper case is taken as lower', () => {
    expect(parseListAddress('Dev@Lists.Example', domains)).toBe('dev@lists.example');
  });

  test.each([
    'dev@elsewhere.example',
    'dev',
    '*@lists.example',
    '>@lists.example',
    'dev.*@lists.example',
    'a b@lists.example',
    '"a b"@lists.example',
    'dev\r\n@lists.example',
    'dev@lists.example\r\n',
    '.dev@lists.example',
    'dev.@lists.example',
    'de..v@lists.example',
    '-dev@lists.example',
    '_dev@lists.example',
    'dev+x@lists.example',
    '$JS@lists.example',
    'dév@lists.example',
    `${'n'.repeat(53)}@lists.example`,
    `${'n'.repeat(300)}@lists.example`,
    `dev@${domains[1]}`,
  ])('%j may not', (text) => {
    expect(parseListAddress(text, domains)).toBeNull();
  });
});

describe('properties', () => {
  test('what was parsed parses to itself', () => {
    fc.assert(
      fc.property(LOCAL, DOMAIN, (local, domain) => {
        const address = parseAddress(`${local}@${domain}`);
        fc.pre(address !== null);
        expect(parseAddress(address)).toBe(address);
        expect(`${localPartOf(address)}@${domainOf(address)}`).toBe(address);
        expect(addressKey(addressKey(address) as Address)).toBe(addressKey(address));
      }),
    );
  });

  test('nothing throws, and no address holds a control, a space or a line end', () => {
    const text = fc.string({
      unit: fc.oneof(fc.constantFrom(...'@."\\<>\r\n\0 ()é'), fc.string()),
    });
    fc.assert(
      fc.property(
        fc.oneof(
          text,
          fc.tuple(text, text).map((p) => p.join('@')),
        ),
        (any) => {
          const address = parseAddress(any);
          if (address !== null) expect(address).not.toMatch(/[\p{Cc}\p{Z}]/u);
          parseListAddress(any, ['example.org']);
        },
      ),
    );
  });

  test('the cost is linear', () => {
    const shapes = ['a.', '"', '\\', '@', 'é', '-', '"a\\"'];
    for (const shape of shapes)
      expectLinear(
        (n) => shape.repeat(n),
        (text) => [parseAddress(text), parseDomain(text)],
        20_000,
      );
  });
});

/** Words of the command line: settings, sizes, names of lists, failures. */
import { describe, expect, test } from 'vitest';
import { nodeFacts } from '../../src/cli/doctor-nodes.ts';
import { explain, failureOf, refused } from '../../src/cli/explain.ts';
import { listAddress } from '../../src/cli/list.ts';
import { changeOf, pairOf, SETTING_NAMES } from '../../src/cli/settings.ts';
import { parseSize } from '../../src/cli/sizes.ts';
import { MailError, OperatorError } from '../../src/errors.ts';
import { recorder } from './recorder.ts';

describe('settings', () => {
  test('are read from name=value, later ones win', () => {
    const pairs = ['posting=closed', 'prefix=[a=b]', 'max-size=500KB', 'posting=anyone'];
    expect(changeOf(pairs.map(pairOf))).toEqual({
      settings: { posting: 'anyone', subjectPrefix: '[a=b]', maxMessageBytes: 500_000 },
      emergency: null,
    });
  });

  test('emergency is a change of the list, not a setting', () => {
    expect(changeOf([pairOf('emergency=on')])).toEqual({ settings: {}, emergency: true });
    expect(changeOf([pairOf('emergency=off')])).toEqual({ settings: {}, emergency: false });
  });

  test.each(['posting=all', 'mode=x', 'max-size=big', 'emergency=1', 'nonsense=1', 'toString=1'])(
    '%s is refused, with what is expected',
    (text) => {
      expect(() => changeOf([pairOf(text)])).toThrow(OperatorError);
      try {
        changeOf([pairOf(text)]);
      } catch (error) {
        expect(failureOf(error).nextStep).not.toBe('');
      }
    },
  );

  test('a word without = is refused, naming the settings', () => {
    expect(() => pairOf('posting')).toThrow(/name=value/);
    expect(SETTING_NAMES).toContain('posting');
  });

  test('a footer may have several lines', () => {
    expect(changeOf([['footer', 'one\\ntwo']]).settings.footer).toBe('one\ntwo');
  });
});

test('sizes are bytes, thousands or powers of two', () => {
  const sizes = ['40000', '40000 B', '500KB', '512KiB', '10M', '1.5MB', '2 GiB'];
  expect(sizes.map(parseSize)).toEqual([
    40_000,
    40_000,
    500_000,
    524_288,
    10_485_760,
    1_500_000,
    2 ** 31,
  ]);
  expect(['', 'x', '-1', '1e9', '10TB', '1.2345MB'].map(parseSize)).toEqual(Array(6).fill(null));
});

describe('the address of a new list', () => {
  const domains = ['lists.localhost'];
  test('is on a domain of ours, in lower case', () => {
    expect(listAddress('Dev.Team@Lists.Localhost', domains)).toBe('dev.team@lists.localhost');
  });

  test('on another domain is told which are served', () => {
    expect(() => listAddress('dev@example.org', domains)).toThrow(/example\.org/);
  });

  test.each([
    'dev*@lists.localhost',
    'dev>@lists.localhost',
    'a b@lists.localhost',
    'dev',
    '@',
    '',
    'dev\r\nx@lists.localhost',
    `${'x'.repeat(300)}@lists.localhost`,
    '..@lists.localhost',
  ])('%j is refused by the grammar', (text) => {
    expect(() => listAddress(text, domains)).toThrow(/cannot be the address/);
  });
});

describe('what is told of a failure', () => {
  test('a refusal has its own code and the next step', () => {
    const error = refused({ type: 'refusal', code: 'no-such-list', text: 'there is no list x@y' });
    expect(failureOf(error)).toEqual({
      code: 'no-such-list',
      text: 'there is no list x@y',
      nextStep: 'See `troupe list ls`.',
    });
  });

  test('the world has a status, a bug has its stack', () => {
    expect(failureOf(new MailError(451, '4.3.0', 'not ready'))).toMatchObject({ code: '4.3.0' });
    const bug = failureOf(new TypeError('x is not a function'));
    expect(bug.code).toBe('bug');
    expect(bug.text).toContain('words.test.ts');
  });

  test('people get two lines, programs get JSON, both on stderr', () => {
    const people = recorder();
    explain(people.out, new OperatorError('it is \u001b[31mred', 'Paint it.'));
    expect(people.written).toEqual({ out: '', err: 'troupe: it is \ufffd[31mred\nPaint it.\n' });
    const programs = recorder(false, true);
    explain(programs.out, new OperatorError('no', 'Do.'));
    expect(JSON.parse(programs.written.err)).toEqual({
      error: { code: 'operator', text: 'no', nextStep: 'Do.' },
    });
  });
});

test("of a node's answer only what is understood is read", () => {
  expect(nodeFacts({ node: 'n1', blocked: ['a', 5], problems: 'x', more: {} })).toEqual({
    node: 'n1',
    blocked: ['a'],
    quarantined: [],
    problems: [],
    diskFreeBytes: null,
    asOf: null,
  });
  expect(nodeFacts(null)).toMatchObject({ node: 'a node', blocked: [], problems: [] });
});

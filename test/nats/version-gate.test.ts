import { describe, expect, test } from 'vitest';
import { OperatorError } from '../../src/errors.ts';
import { checkVersion } from '../../src/nats/version-gate.ts';

describe('the version gate', () => {
  const strict = { durability: 'strict', isCluster: false } as const;
  const relaxed = { durability: 'relaxed', isCluster: false } as const;

  test.each(['2.12.5', '2.12.10', '2.14.0', '2.15.1', '3.0.0', '2.12.5-RC.1'])(
    '%s is taken',
    (version) => {
      expect(() => checkVersion(version, strict)).not.toThrow();
    },
  );

  test.each(['2.9.10', '2.10.27', '2.11.0', '2.12.4', '1.99.99', '', 'unknown'])(
    '“%s” is refused',
    (version) => {
      expect(() => checkVersion(version, strict)).toThrow(OperatorError);
      expect(() => checkVersion(version, { ...relaxed, isCluster: true })).toThrow('too old');
    },
  );

  test('an old one is taken on one machine whose operator accepts to lose mail', () => {
    expect(() => checkVersion('2.9.10', relaxed)).not.toThrow();
  });
});

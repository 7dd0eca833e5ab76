/** Messages we wrote, each with the bytes it must become beside it. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cook } from '../../src/mail/cook.ts';
import { RECIPE, text } from './cook-support.ts';

const FIXTURES = new URL('../fixtures/cook/', import.meta.url);
const names = readdirSync(FIXTURES)
  .filter((file) => file.endsWith('.eml'))
  .map((file) => file.slice(0, -'.eml'.length));

test.each(names)('%s is cooked into the bytes beside it', (name) => {
  const changes = new URL(`${name}.json`, FIXTURES);
  const recipe = existsSync(changes)
    ? { ...RECIPE, ...JSON.parse(readFileSync(changes, 'utf8')) }
    : RECIPE;
  const cooked = cook(readFileSync(new URL(`${name}.eml`, FIXTURES)), recipe);
  const expected = new URL(`${name}.cooked`, FIXTURES);
  if (process.env.UPDATE_FIXTURES === '1') writeFileSync(expected, cooked.bytes);
  expect(text(cooked.bytes)).toBe(text(readFileSync(expected)));
});

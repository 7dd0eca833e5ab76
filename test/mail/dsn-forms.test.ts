/**
 * Forms of bounces, many to a file: `%%% name: who permanent|temporary, …` or `%%% name: nothing`, then
 * the mail. `a|b` takes either, as where an alias and who is behind it are both told.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { recognise } from '../../src/mail/dsn.ts';

const FIXTURES = join(import.meta.dirname, '..', 'fixtures', 'dsn-forms');

type Form = { readonly name: string; readonly wanted: string; readonly mail: Buffer };

function formsOf(file: string): readonly Form[] {
  const [, ...forms] = readFileSync(join(FIXTURES, file), 'utf8').split(/^%%% /m);
  return forms.map((form) => {
    const end = form.indexOf('\n');
    const [, name = '', wanted = ''] = /^(.*): (.*)$/.exec(form.slice(0, end)) ?? [];
    return { name, wanted, mail: Buffer.from(form.slice(end + 1).replaceAll('\n', '\r\n')) };
  });
}

/** What was recognised, in the words of the expectation, with its choices made. */
function told(mail: Uint8Array, wanted: string): string {
  const { kind, results } = recognise(mail);
  if (kind !== 'bounce' && kind !== 'delayed') return 'nothing';
  const rows = wanted.split(', ');
  const all = results.map(({ recipient, permanent }) => {
    const how = permanent ? 'permanent' : 'temporary';
    const row = rows.findIndex((one) => one.split(' ')[0]?.split('|').includes(recipient));
    const who = row < 0 ? recipient : rows[row]?.split(' ')[0];
    return { row: row < 0 ? rows.length : row, said: `${who} ${how}` };
  });
  const inOrder = all.toSorted((a, b) => a.row - b.row);
  return [...new Set(inOrder.map(({ said }) => said))].join(', ');
}

describe.each(readdirSync(FIXTURES))('%s', (file) => {
  test.each(formsOf(file))('$name', ({ wanted, mail }) => {
    expect(told(mail, wanted)).toBe(wanted);
  });
});

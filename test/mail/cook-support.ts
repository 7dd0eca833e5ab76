/** What the tests of cooking share: a recipe, a key and a copy. */

import type { Address } from '../../src/mail/address.ts';
import type { Recipe } from '../../src/mail/chunk.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import type { CopyOf } from '../../src/mail/render.ts';

export const RECIPE: Recipe = {
  kind: 'post',
  mode: 'individual',
  list: 'dev@example.org' as Address,
  displayName: 'Developers',
  description: 'A list for builders',
  subjectPrefix: '[dev]',
  footer: '-- \ndev, a list for builders\nLeave: {unsubscribe}\n',
  web: 'https://lists.example.org',
  messageId: '',
  postNumber: 12,
};

export const COPY: CopyOf = {
  key: 'abcdefghijklmnopqrstuvwxyz' as ListKey,
  member: 7,
  post: 12,
  secret: new Uint8Array(32).fill(5),
};

/** One character a byte, so that a difference is shown as it is. */
export function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

/** The bytes of a message written in UTF-8 with LF ends. */
export function message(...lines: readonly string[]): Uint8Array {
  return Buffer.from(lines.join('\r\n'), 'utf8');
}

/** What stands before the empty line, and what after it. */
export function split(bytes: Uint8Array): { header: string; body: string } {
  const all = text(bytes);
  const at = all.indexOf('\r\n\r\n');
  return { header: all.slice(0, at + 2), body: all.slice(at + 4) };
}

/** A field's value with its folds, or null. */
export function fieldOf(bytes: Uint8Array, name: string): string | null {
  const { header } = split(bytes);
  const match = new RegExp(`^${name}:[ ]?((?:.|\\r\\n[ \\t])*)\\r\\n`, 'im').exec(header);
  return match?.[1] ?? null;
}

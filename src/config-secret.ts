/** Reads what is secret from a file of its own: a key that signs, the password of a route. Others must not be able to read it. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { textOf } from './errors.ts';

/** Write by the group, anything by others: who can read it can sign or send as we do. */
const OPEN_BITS = 0o027;
const KIB = 1024;
const PASSWORD_KIB_MAX = 1;

/** A secret, or what is wrong with its file in a sentence that names it and never what is in it. */
export type Secret = { readonly text: string } | { readonly problem: string };

/** `what` names it in the sentence: `key`, `password`. Never throws. */
export function readSecret(what: string, file: string, kibMax: number): Secret {
  let fd: number | null = null;
  try {
    fd = openSync(file, 'r');
    const { mode, size } = fstatSync(fd);
    const bits = mode & 0o777;
    if ((bits & OPEN_BITS) !== 0) {
      const octal = bits.toString(8).padStart(4, '0');
      return {
        problem: `the ${what} ${file} is open to others (mode ${octal}): chmod 0600 ${file}`,
      };
    }
    if (size > kibMax * KIB) return { problem: `the ${what} ${file} is larger than ${kibMax} KiB` };
    return { text: readFileSync(fd, 'utf8') };
  } catch (error) {
    return { problem: `the ${what} ${file} cannot be read: ${textOf(error)}` };
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

/** One line; the end of the line is not part of it. */
export function readPassword(file: string): Secret {
  const read = readSecret('password', file, PASSWORD_KIB_MAX);
  if ('problem' in read) return read;
  const text = read.text.replace(/\r?\n$/, '');
  return /^[^\r\n]+$/.test(text) ? { text } : { problem: `the password ${file} is not one line` };
}

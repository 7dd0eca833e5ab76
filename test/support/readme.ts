/** The README as its readers copy from it: what stands in its blocks, by language. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const README = resolve(import.meta.dirname, '..', '..', 'README.md');

/** The blocks of a language, in order: `sh` for anybody who has just started, `console` where more is needed, `yaml`. */
export const blocksOf = (language: string): string[] =>
  [...readFileSync(README, 'utf8').matchAll(/```(\w*)\n([\s\S]*?)```/g)].flatMap(
    ([, of, text = '']) => (of === language ? [text] : []),
  );

/** Their lines, each a command. */
export const commandsOf = (language: string): string[] =>
  blocksOf(language).flatMap((text) => text.trim().split('\n'));

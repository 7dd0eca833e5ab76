/** Patterns made of many phrases, on lines of their own, so that one can be found, added and blamed. */

/**
 * A regular expression written over several lines: line ends and the indentation after them are no
 * part of it. It finds its words in any case.
 */
export function phrases(strings: TemplateStringsArray): RegExp {
  const lines = (strings.raw[0] ?? '').split('\n');
  return new RegExp(lines.map((line) => line.trim()).join(''), 'i');
}

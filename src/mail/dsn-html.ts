/** What is readable of a report that is only there as HTML: its lines, for the rules of plain text. */

const ENTITIES: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  quot: '"',
  nbsp: ' ',
  apos: "'",
};

/** A link to an address that its own words do not tell. */
const MAILTO =
  /<a\b[^<>]{0,200}?mailto:([^"'<>?\s]{3,254})(?=["'>?\s])[^<>]{0,300}>([^<>@]{0,200})<\/a>/gi;

/** The text of HTML, a line for each block of it. Linear; never throws. */
export function plainOfHtml(html: string): string {
  if (html === '') return '';
  return html
    .replace(/[\r\n]+/g, ' ')
    .replace(/<(?:br|\/?p|\/?div|\/?tr|\/?li|\/?h[1-6]|\/?table|hr|\/?pre)\b[^<>]{0,500}>/gi, '\n')
    .replace(MAILTO, (_, to: string, words: string) => `${words} <${to.replace('%40', '@')}>`)
    .replace(/<(?:\/|!)?[a-z][^<>@]{0,1000}>/gi, ' ')
    .replace(/<a\s[^<>]{0,1000}>/gi, ' ')
    .replace(/&(?:#(\d{1,7})|([a-z]{1,6}));/gi, (whole, code?: string, name?: string) =>
      code === undefined
        ? (ENTITIES[(name ?? '').toLowerCase()] ?? whole)
        : Number(code) < 0x11_0000
          ? String.fromCodePoint(Number(code))
          : whole,
    );
}

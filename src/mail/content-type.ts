/**
 * Content-Type (RFC 2045 §5.1): the type, and its parameters with RFC 2231's pieces put together.
 */

export type ContentType = {
  /** Lower-case `type/subtype`. */
  readonly type: string;
  /** By lower-case name; the first of a name counts. */
  readonly parameters: ReadonlyMap<string, string>;
};

/** What a part is that does not say, or says nothing readable (RFC 2045 §5.2). */
export const PLAIN_TEXT: ContentType = { type: 'text/plain', parameters: new Map() };

/** A longer value is cut: no honest one comes near. */
const VALUE_LENGTH_MAX = 8 * 1024;
const PARAMETERS_MAX = 100;
/**
 * Pieces of one parameter that are put together; a gap ends it, so huge numbers are ignored (RFC
 * 2231 §3).
 */
const PIECES_MAX = 20;

const TYPE = /^\s*([A-Za-z0-9!#$&^_.+-]{1,127})\s*\/\s*([A-Za-z0-9!#$&^_.+-]{1,127})\s*(?:;|\(|$)/;
/** One parameter: a name, then what is quoted or what is not. */
const PARAMETER = /;\s*([A-Za-z0-9!#$&^_.+*'-]{1,100})\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;\s"]*))/g;

/** Parses a field's unfolded value; null if it names no type. Linear; never throws. */
export function parseContentType(value: string): ContentType | null {
  const text = value.slice(0, VALUE_LENGTH_MAX);
  const [, main, sub] = TYPE.exec(text) ?? [];
  if (main === undefined || sub === undefined) return null;
  const said = new Map<string, string>();
  for (const match of text.matchAll(PARAMETER)) {
    if (said.size >= PARAMETERS_MAX) break;
    const name = (match[1] ?? '').toLowerCase();
    if (!said.has(name)) said.set(name, match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? '');
  }
  return { type: `${main}/${sub}`.toLowerCase(), parameters: joined(said) };
}

/**
 * The parameters as they are meant: `name*`, or `name*0`, `name*1*`, … become `name` (RFC 2231).
 */
function joined(said: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const meant = new Map(said);
  for (const name of said.keys()) {
    const plain = /^([^*]+)\*(?:0\*?)?$/.exec(name)?.[1];
    if (plain === undefined || meant.has(plain)) continue;
    meant.set(plain, extended(said.get(`${plain}*`), true) ?? pieced(said, plain));
  }
  return meant;
}

function pieced(said: ReadonlyMap<string, string>, name: string): string {
  let whole = '';
  for (let i = 0; i < PIECES_MAX; i++) {
    const piece = said.get(`${name}*${i}`) ?? extended(said.get(`${name}*${i}*`), i === 0);
    if (piece === null) break;
    whole += piece;
  }
  return whole;
}

/** Percent-encoded UTF-8; the first piece has `charset'language'` before it. */
function extended(value: string | undefined, isFirst: boolean): string | null {
  if (value === undefined) return null;
  const text = isFirst ? value.slice(value.lastIndexOf("'") + 1) : value;
  const bytes = text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

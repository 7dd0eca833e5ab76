/**
 * Reads what the configuration is made of, the YAML file and the environment, and remembers where
 * each value stood, so that a mistake is told with its line or its variable.
 */
import { readFileSync } from 'node:fs';
import { isMap, isScalar, LineCounter, type Node, type Pair, parseDocument } from 'yaml';
import type { z } from 'zod';
import { type Leaf, leaves } from './config-schema.ts';
import { OperatorError, textOf } from './errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
export type Path = readonly PropertyKey[];

// ── Reading ───────────────────────────────────────────────────────────────

/** A YAML file as data, its syntax errors, and where each key stands. */
export type Read = {
  readonly value: Record<string, unknown>;
  readonly mistakes: readonly string[];
  readonly lineOf: (path: Path) => string | null;
};

/** Where each value came from: the file's lines, and the variables. */
export type Sources = {
  readonly inFile: (path: Path) => string | null;
  readonly inEnv: ReadonlyMap<string, string>;
};

/** What `nats.conf` asks of the environment and what the launcher hands over: no keys of ours. */
const NOT_KEYS = new Set(['TROUPE_NATS_STORE', 'TROUPE_NATS_NAME', 'TROUPE_NATS_SERVER_FOUND']);
const FILE_BYTES_MAX = 1024 * 1024;

/** What stands for a file when there is none. */
export function nothingRead(): Read {
  return { value: {}, mistakes: [], lineOf: () => null };
}

/** Reads a YAML file of keys and values. Throws OperatorError when it cannot be opened. */
export function readYaml(file: string): Read {
  const text = textIn(file);
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => `${file}:${lines.linePos(offset).line}`;
  const mistakes = doc.errors.map((error) => `${at(error.pos[0])}: ${error.message}`);
  const lineOf = (path: Path): string | null => {
    const offset = offsetOf(doc.contents, path);
    return offset === null ? null : at(offset);
  };
  if (mistakes.length > 0 || doc.contents === null) return { value: {}, mistakes, lineOf };
  if (isScalar(doc.contents) && doc.contents.value === null) return { value: {}, mistakes, lineOf };
  if (isMap(doc.contents)) return { value: doc.toJS(), mistakes, lineOf };
  return {
    value: {},
    mistakes: [`${file}:1: expected keys and values, such as \`data: …\``],
    lineOf,
  };
}

function textIn(file: string): string {
  try {
    const text = readFileSync(file, 'utf8');
    if (text.length <= FILE_BYTES_MAX) return text;
    throw new Error('it is larger than 1 MiB');
  } catch (error) {
    throw new OperatorError(
      `the configuration file ${file} cannot be read: ${textOf(error)}`,
      'Correct the path after --config, or leave it out to use the defaults.',
      error,
    );
  }
}

/** Where the key at `path` stands; for what is missing, where its nearest parent stands. */
function offsetOf(root: unknown, path: Path): number | null {
  let node: unknown = root;
  let offset: number | null = null;
  for (const step of path) {
    if (!isMap(node)) {
      const items = (node as { items?: readonly unknown[] } | null)?.items;
      node = typeof step === 'number' ? items?.[step] : undefined;
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
      continue;
    }
    const pair = node.items.find((item: Pair) => isScalar(item.key) && item.key.value === step);
    if (pair === undefined) return offset;
    offset = (pair.key as Node).range?.[0] ?? offset;
    node = pair.value;
  }
  return offset;
}

// ── The environment ───────────────────────────────────────────────────────

/**
 * Writes the environment's values over the file's; gives which key came from which variable.
 * A variable that looks like one of ours but is none goes to `mistakes`.
 */
export function overlay(
  value: Record<string, unknown>,
  env: Environment,
  mistakes: string[],
): Map<string, string> {
  const known = new Map(leaves().flatMap((leaf) => (leaf.env === null ? [] : [[leaf.env, leaf]])));
  const sections = new Set(
    [...known.values()].flatMap(({ path: [first, ...rest] }) =>
      rest.length > 0 ? [`TROUPE_${String(first).toUpperCase()}_`] : [],
    ),
  );
  const from = new Map<string, string>();
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || text === '' || !name.startsWith('TROUPE_') || NOT_KEYS.has(name))
      continue;
    const leaf = known.get(name);
    if (leaf !== undefined) {
      put(value, leaf.path, fromText(leaf, text));
      from.set(leaf.path.join('.'), name);
    } else if ([...sections].some((prefix) => name.startsWith(prefix))) {
      mistakes.push(`${name}: unknown variable${meant(name, [...known.keys()])}`);
    }
  }
  return from;
}

function fromText(leaf: Leaf, text: string): unknown {
  if (leaf.kind === 'number') return /^\d+$/.test(text) ? Number(text) : text;
  if (leaf.kind === 'text') return text;
  if (!/^\s*[[{]/.test(text)) return text.split(',').map((item) => item.trim());
  try {
    return JSON.parse(text);
  } catch {
    return text; // The schema then says what was expected.
  }
}

function put(into: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let node = into;
  for (const step of path.slice(0, -1)) {
    const next = node[step];
    const inner =
      typeof next === 'object' && next !== null ? (next as Record<string, unknown>) : {};
    node[step] = inner;
    node = inner;
  }
  node[path.at(-1) ?? ''] = value;
}

// ── Mistakes ──────────────────────────────────────────────────────────────

/** An issue of zod as sentences: where, which key, and what it must be. */
export function explain(issue: z.core.$ZodIssue, sources: Sources): readonly string[] {
  if (issue.code === 'unrecognized_keys') {
    const siblings = leaves()
      .filter(({ path }) => matches(path.slice(0, issue.path.length), issue.path))
      .map(({ path }) => path[issue.path.length] ?? '');
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return `${placeOf(path, sources)}: unknown key \`${path.join('.')}\`${meant(key, siblings)}`;
    });
  }
  const leaf = leaves().find(({ path }) => matches(path, issue.path.slice(0, path.length)));
  const expected = leaf?.expected ?? 'keys and values';
  const key = issue.path.length > 0 ? `\`${issue.path.join('.')}\`` : 'the configuration';
  const isMissing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  const claim = isMissing ? 'is missing; it must be' : 'must be';
  return [`${placeOf(issue.path, sources)}: ${key} ${claim} ${expected}`];
}

/** A leaf's path has `*` where a list has a number. */
function matches(leaf: readonly string[], path: Path): boolean {
  return leaf.length === path.length && leaf.every((step, i) => step === '*' || step === path[i]);
}

/** `file:line`, or the variable that gave the value. */
export function placeOf(path: Path, { inFile, inEnv }: Sources): string {
  for (let length = path.length; length > 0; length--) {
    const name = inEnv.get(path.slice(0, length).join('.'));
    if (name !== undefined) return name;
  }
  return inFile(path) ?? 'configuration';
}

/** A guess at what a mistyped name was to be; '' when nothing is near. */
function meant(wrong: string, names: readonly string[]): string {
  const near = [...new Set(names)]
    .map((name) => ({ name, far: distance(wrong.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.far - b.far)[0];
  return near !== undefined && near.far <= 3 ? `; did you mean \`${near.name}\`?` : '';
}

/** Levenshtein's, over short names only. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

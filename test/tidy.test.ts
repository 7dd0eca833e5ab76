/** The house rules that a machine can check: who imports whom, how long a file is, what stands at the top. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');
const LINES_MAX = 400;

const TOP_LEVEL = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'src',
  'actors',
  'test',
  'nats.conf',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  '.ci',
  '.gitignore',
  '.npmrc',
  'biome.json',
  'knip.json',
  'vitest.config.ts',
];

const BASICS = [
  'config',
  'config-dkim',
  'config-read',
  'config-schema',
  'config-secret',
  'log',
  'errors',
  'assert',
  'clock',
  'disk',
  'ending',
  'failpoint',
  'world',
];
const BASIC_FILES = [...BASICS, 'data-directory'].map((name) => `src/${name}.ts`);

/** What a folder may import besides itself: folders end in '/', packages and builtins stand by name. `types` only as types. */
type Rule = { readonly may: readonly string[]; readonly types?: readonly string[] };
const MAIL: Rule = { may: ['src/assert.ts', 'node:crypto', 'node:worker_threads', 'mailparser'] };
const ASKER: Rule = { may: ['src/mail/', 'src/nats/', ...BASIC_FILES, '*'], types: ['actors/'] };
const RULES: Readonly<Record<string, Rule>> = {
  'src/mail/': MAIL,
  'actors/': { may: ['src/mail/', 'src/assert.ts', 'xstate'] },
  'src/nats/': {
    may: ['src/mail/', ...BASIC_FILES, 'actors/protocol.ts', '*', 'nats'],
    types: ['actors/'],
  },
  'src/store/': {
    may: ['src/mail/', ...BASIC_FILES, 'actors/list/state.ts', '*', 'lmdb'],
    types: ['actors/'],
  },
  'src/host/': {
    may: [
      'actors/',
      'src/mail/',
      'src/nats/',
      'src/store/',
      ...BASIC_FILES,
      'xstate',
      'node:crypto',
    ],
  },
  'src/runners/': { may: ['src/mail/', ...BASIC_FILES, 'node:crypto'], types: ['actors/'] },
  'src/smtp/': ASKER,
  'src/api/': ASKER,
  'src/ops/': ASKER,
  'src/cli/': { ...ASKER, may: [...ASKER.may, 'src/ops/', 'src/main.ts'] },
  'src/web/': { ...ASKER, may: [...ASKER.may, 'src/ops/'] },
};
/** Packages that only one folder may import. */
const ONLY: Readonly<Record<string, readonly string[]>> = {
  nats: ['src/nats/'],
  lmdb: ['src/store/'],
  'node:sqlite': ['src/store/'],
  xstate: ['actors/', 'src/host/'],
};

type Import = { readonly from: string; readonly to: string; readonly isType: boolean };

function filesUnder(folder: string): string[] {
  const at = join(ROOT, folder);
  return readdirSync(at, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((name) => /\.m?ts$/.test(name) && statSync(join(ROOT, name)).isFile());
}

const IMPORT =
  /^(?:import|export)(\s+type)?\s(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(IMPORT)].map(([, type, named, dynamic]) => {
    const to = named ?? dynamic ?? '';
    const target = to.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(file), to)) : to;
    return { from: file, to: target, isType: type !== undefined };
  });
}

const withoutComments = (file: string): string =>
  readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');

const SOURCES = [...filesUnder('src'), ...filesUnder('actors')];
const IMPORTS = SOURCES.flatMap(importsOf);

const isLocal = (to: string): boolean => to.startsWith('src/') || to.startsWith('actors/');
const packageOf = (to: string): string =>
  to.startsWith('@') ? to.split('/').slice(0, 2).join('/') : (to.split('/')[0] ?? to);

function allows(rule: Rule, folder: string, { to, isType }: Import): boolean {
  const list = isType ? [...rule.may, ...(rule.types ?? [])] : rule.may;
  if (to.startsWith(folder)) return true;
  if (isLocal(to)) return list.some((may) => (may.endsWith('/') ? to.startsWith(may) : may === to));
  return list.includes('*') || list.includes(to) || list.includes(packageOf(to));
}

test('imports point one way', () => {
  expect(IMPORTS.length).toBeGreaterThan(100);
  const wrong = IMPORTS.filter((one) => {
    const [folder, rule] = Object.entries(RULES).find(([name]) => one.from.startsWith(name)) ?? [];
    return folder !== undefined && rule !== undefined && !allows(rule, folder, one);
  });
  expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
});

test('each of the packages that hold the shape is imported by one folder only', () => {
  const wrong = IMPORTS.filter(({ from, to }) => {
    const folders = ONLY[packageOf(to)] ?? ONLY[to];
    return (
      folders !== undefined &&
      from !== 'src/main.ts' &&
      !folders.some((one) => from.startsWith(one))
    );
  });
  expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
});

test('the wiring is imported by nothing but itself and the two verbs that start it', () => {
  const names = ['main', 'roles', 'open-routes', 'senders', 'full-disk', 'site', 'operators'];
  const wiring = names.map((name) => `src/${name}.ts`);
  const importers = IMPORTS.filter(({ from, to }) => wiring.includes(to) && !wiring.includes(from));
  expect([...new Set(importers.map(({ from }) => from))].sort()).toEqual([
    'src/cli/doctor.ts',
    'src/cli/serve.ts',
  ]);
});

test('no runner imports another', () => {
  const isRunner = (file: string) =>
    /^src\/runners\/(incoming|outgoing|later|archive)\.ts$/.test(file);
  expect(IMPORTS.filter(({ from, to }) => isRunner(from) && isRunner(to))).toEqual([]);
});

test('there are no cycles, no index.ts and no utils.ts', () => {
  const graph = new Map<string, string[]>();
  for (const { from, to, isType } of IMPORTS)
    if (isLocal(to) && !isType) graph.set(from, [...(graph.get(from) ?? []), to]);
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
    if (done.has(file) || path.includes(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  expect(cycles).toEqual([]);
  expect(SOURCES.filter((file) => /\/(index|utils)\.ts$/.test(file))).toEqual([]);
});

test('actors are pure: no clock, chance, timer or promise', () => {
  const impure =
    /\b(Date\.now|new Date\(|Math\.random|setTimeout|setInterval|process\.|Promise|async )/;
  const wrong = filesUnder('actors').filter((file) => impure.test(withoutComments(file)));
  expect(wrong).toEqual([]);
});

test('host and runners take time and chance from the world alone', () => {
  const impure = /\b(Date\.now|Math\.random|setTimeout|setInterval|performance\.now|randomBytes)\b/;
  const files = [...filesUnder('src/host'), ...filesUnder('src/runners')];
  const wrong = files.filter((file) => impure.test(readFileSync(join(ROOT, file), 'utf8')));
  expect(files.length).toBeGreaterThan(10);
  expect(wrong).toEqual([]);
});

test('subjects are spelled in one file', () => {
  const spelled = SOURCES.filter(
    (file) =>
      file !== 'src/nats/subjects.ts' &&
      /['"`]troupe\.(mail|mailbox|ledger|held|archive|later|due|outgoing|results|bounces|parked|ask)\b/.test(
        withoutComments(file),
      ),
  );
  expect(spelled).toEqual(['src/nats/streams.ts']);
});

test('files fit in the head', () => {
  const long = [...SOURCES, ...filesUnder('test')]
    .map((file) => [file, readFileSync(join(ROOT, file), 'utf8').split('\n').length - 1] as const)
    .filter(([, lines]) => lines > LINES_MAX);
  expect(long).toEqual([]);
});

test('every file opens with what it is for', () => {
  const bare = SOURCES.filter(
    (file) => !/^(#!.*\n)?\/\*\*/.test(readFileSync(join(ROOT, file), 'utf8')),
  );
  expect(bare).toEqual([]);
});

test('nothing stands at the top that the layout does not name', () => {
  const tracked = execFileSync('git', ['ls-files'], { cwd: ROOT, encoding: 'utf8' });
  const top = new Set(
    tracked
      .split('\n')
      .filter(Boolean)
      .map((name) => name.split('/')[0] ?? ''),
  );
  expect([...top].filter((name) => !TOP_LEVEL.includes(name))).toEqual([]);
});

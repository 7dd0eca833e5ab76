/**
 * The operator's command line: `troupe <verb>`.
 *
 * Every verb but `serve` and `doctor --rebuild` asks the running site over NATS. A verb's file is
 * loaded only when it is used, so that a verb starts in the time of what it needs. Exit codes: 0
 * done, 1 refused or failed, 2 usage.
 */
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import type { By } from '../../actors/protocol.ts';
import { systemClock, systemRandom } from '../clock.ts';
import type { Config } from '../config.ts';
import { UsageError } from '../errors.ts';
import {
  type Context,
  DONE,
  type ExitCode,
  FAILED,
  type Register,
  type Run,
  USAGE,
} from './context.ts';
import { explain } from './explain.ts';
import { type Out, outOf } from './print.ts';

type Verb = readonly [name: string, summary: string, load: () => Promise<{ register: Register }>];

const VERBS: readonly Verb[] = [
  ['serve', 'run a node of the site', () => import('./serve.ts')],
  ['list', 'create, show, set, retire and list mailing lists', () => import('./list.ts')],
  ['member', 'add, remove, list and import members', () => import('./member.ts')],
  ['hold', 'look at held posts and decide on them', () => import('./hold.ts')],
  ['post', 'the posts of a list; pause, resume, cancel one', () => import('./post.ts')],
  ['delivery', 'who got a post, who did not, and why', () => import('./delivery.ts')],
  ['bounces', 'mail that came back: who, why, what is done', () => import('./bounces.ts')],
  ['inspect', 'what a list, node, slot or route is doing', () => import('./inspect.ts')],
  ['node', 'the nodes of the site; drain one, or undrain it', () => import('./node.ts')],
  ['slot', 'who owns which share of the lists', () => import('./slot.ts')],
  ['route', 'the outgoing MTAs: add, set, drain, resume, remove', () => import('./route.ts')],
  ['cluster', 'three servers and three nodes here, to try', () => import('./cluster.ts')],
  ['queue', 'what waits, what is parked, and replay it', () => import('./queue.ts')],
  ['outbox', 'mail that was captured instead of sent', () => import('./outbox.ts')],
  ['bench', 'measure this machine', () => import('./bench.ts')],
  ['doctor', 'check the site; rebuild its projections', () => import('./doctor.ts')],
];

type Globals = { readonly config?: string; readonly json?: boolean };

/** Runs one command line and returns its exit code; nothing is thrown. */
async function main(args: readonly string[]): Promise<ExitCode> {
  const program = new Command('troupe')
    .description('Mailing lists as actors.')
    .version(versionOfTroupe(), '-V, --version', 'print the version')
    .option('-c, --config <file>', 'the configuration of the site')
    .option('--json', 'print JSON for programs instead of tables')
    .showHelpAfterError('Try the same with --help.')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride();
  let code: ExitCode = DONE;
  const run: Run = async (action) => {
    const globals = program.opts<Globals>();
    const out = outOf(process.stdout, process.stderr, globals.json === true, wantsNoColour());
    try {
      code = await action(contextOf(globals, out));
    } catch (error) {
      explain(out, error);
      code = error instanceof UsageError ? USAGE : FAILED;
    }
  };
  await addVerbs(program, verbOf(args), run);
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? DONE : USAGE;
  }
  return code;
}

/** The named verb whole, the others by name and summary only. */
async function addVerbs(program: Command, wanted: string | null, run: Run): Promise<void> {
  for (const [name, summary, load] of VERBS) {
    if (name === wanted) (await load()).register(program, run);
    else program.command(name, { hidden: false }).description(summary).allowUnknownOption();
  }
}

/** The first word that is no option nor the value of one; `help list` means `list`. */
function verbOf(args: readonly string[]): string | null {
  for (let i = 0; i < args.length; i++) {
    const word = args[i];
    if (word === '-c' || word === '--config') i++;
    else if (word !== undefined && word !== 'help' && !word.startsWith('-')) return word;
  }
  return null;
}

function contextOf(globals: Globals, out: Out): Context {
  const configFile = globals.config === undefined ? undefined : resolve(globals.config);
  let read: Promise<Config> | null = null;
  const config = (): Promise<Config> => {
    read ??= import('../config.ts').then(({ loadConfig }) =>
      loadConfig({ ...(configFile === undefined ? {} : { file: configFile }), env: process.env }),
    );
    return read;
  };
  return {
    out,
    clock: systemClock,
    random: systemRandom,
    by: operator(),
    configFile,
    config,
    withSite: async (use) => {
      const { openSite } = await import('./open-site.ts');
      const site = await openSite(await config());
      try {
        return await use(site);
      } finally {
        await site.close();
      }
    },
  };
}

/** The login name of who asks; a user without an entry in the password file is told by number. */
function operator(): By {
  try {
    return { kind: 'operator', name: userInfo().username };
  } catch {
    return { kind: 'operator', name: `uid ${process.getuid?.() ?? '?'}` };
  }
}

function versionOfTroupe(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const parsed: { version?: string } = JSON.parse(text);
  return parsed.version ?? '0.0.0';
}

/** NO_COLOR (no-color.org): set and not empty. */
function wantsNoColour(): boolean {
  return (process.env.NO_COLOR ?? '') !== '' || process.env.TERM === 'dumb';
}

/** `troupe member ls … | head` closes our output early: that is no failure. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? DONE : FAILED);
});

// Halves the time to an answer; where the directory cannot be written, nothing is cached. It grows
// with our own source only.
enableCompileCache(join(import.meta.dirname, '../../.troupe/compile-cache'));

process.exitCode = await main(process.argv.slice(2));

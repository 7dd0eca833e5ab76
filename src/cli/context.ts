/** What every verb is given: where to print, the configuration, the running site, and who asks. */
import type { Command as Program } from 'commander';
import type { By } from '../../actors/protocol.ts';
import type { Config } from '../config.ts';
import type { Clock, Random } from '../world.ts';
import type { Out } from './print.ts';
import type { Site } from './site.ts';

/** 0: done. 1: refused, or it failed. 2: asked in a way that is not understood. */
export type ExitCode = 0 | 1 | 2;
export const DONE = 0 as const;
export const FAILED = 1 as const;
export const USAGE = 2 as const;

export type Context = {
  readonly out: Out;
  readonly clock: Clock;
  readonly random: Random;
  /** Who stands in the ledger beside what is done here. */
  readonly by: By;
  /** The file of `--config`, absolute; undefined where none was given. */
  readonly configFile: string | undefined;
  /** Reads the configuration the first time. Throws OperatorError. */
  config(): Promise<Config>;
  /**
   * Connects to the running site, uses it and closes it. Throws OperatorError when none answers.
   */
  withSite<T>(use: (site: Site) => Promise<T>): Promise<T>;
};

/** Runs a verb's action under the program's error handling and exit codes. */
export type Run = (action: (context: Context) => Promise<ExitCode>) => Promise<void>;

/** Each verb's file exports one: it adds the verb and its sub-verbs to the program. */
export type Register = (program: Program, run: Run) => void;

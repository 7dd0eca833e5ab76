/** What a bench is: its flags, its columns and their bars, and how one run of it is measured. */
import type { Scene } from './scene.ts';

/** A flag `--name VALUE`: a number, one of its choices, or any text where its default is text. */
export type Flag = {
  readonly what: string;
  readonly default: number | string;
  readonly choices?: readonly string[];
};

export type Flags = { number(name: string): number; text(name: string): string };

export type Column = {
  readonly name: string;
  readonly digits: number;
  /** How the runs become one figure; a sum where a single one is too many. */
  readonly of: 'median' | 'sum';
  /** In the last line too, or only in the table. */
  readonly where: 'json' | 'table';
  /** Left out where this flag is 0. */
  readonly onlyWith?: string;
  /** What design §13 asks for; of some flags only, where it is a function. */
  readonly bar?: Bar | ((flags: Flags) => Bar | null);
};

export type Bar = { readonly atLeast: number } | { readonly atMost: number };

export type Figures = Readonly<Record<string, number>>;

/** Measures one run; `run` counts from 1. */
export type Measure = (run: number) => Promise<Figures>;

export type Bench = {
  readonly name: string;
  readonly what: string;
  /** A peer's figure where one is known, measured on another day and cited from peers.md. */
  readonly peer: string;
  readonly flags: Readonly<Record<string, Flag>>;
  /** How often it is measured unless `--runs` says so. */
  readonly runs?: number;
  /** Flags that stand in the last line, after the name. */
  readonly says: readonly string[];
  readonly columns: readonly Column[];
  /** Programs that must be on the PATH. */
  readonly tools: readonly string[];
  /** Makes what the runs share; all of it is closed by the scene. */
  open(flags: Flags, scene: Scene): Promise<Measure>;
};

/** A column of the last line, with its bar. */
export function figure(name: string, digits: number, bar?: Column['bar']): Column {
  return { name, digits, of: 'median', where: 'json', ...(bar && { bar }) };
}

/** A column of the table alone. */
export function aside(name: string, digits = 0): Column {
  return { name, digits, of: 'median', where: 'table' };
}

/** What must be 0 in every run. */
export function none(name: string): Column {
  return { name, digits: 0, of: 'sum', where: 'json', bar: { atMost: 0 } };
}

/** Processor time of the node and of its nats-server, ms for each of what is counted. */
export const CPU_COLUMNS: readonly Column[] = [aside('nodeCpuMs', 3), aside('natsCpuMs', 3)];

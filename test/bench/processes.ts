/** What processes take of the machine, as Linux tells it: memory, and processor time. */
import { readdirSync, readFileSync } from 'node:fs';

const KB_A_MB = 1_024;
/** A tick of `utime` and `stime` on every Linux that Node runs on. */
const TICK_MS = 10;

/** These processes and all that descend from them. */
export function family(roots: readonly number[]): Set<number> {
  const found = new Set(roots);
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), parentOf(Number(name))] as const);
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
  }
  return found;
}

/** Fields after the name, which may hold anything but ends at the last bracket: state, parent, … (proc(5)). */
function statOf(pid: number): readonly string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return []; // It ended meanwhile.
  }
}

const parentOf = (pid: number): number => Number(statOf(pid)[1] ?? 0);

/** Processor time that a process has had, ms, of all its threads. */
export function cpuMsOf(pid: number): number {
  const stat = statOf(pid);
  return (Number(stat[11] ?? 0) + Number(stat[12] ?? 0)) * TICK_MS;
}

/** The resident set of a process, MiB. */
export function rssMbOf(pid: number): number {
  const [, kb] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kb ?? 0) / KB_A_MB;
}

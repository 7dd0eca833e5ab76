/**
 * The bottle: the whole lab in namespaces of its own for the network, mounts and processes, so that
 * cables can be cut and disks pulled, and nothing of it outlives its end, however that comes.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

const FLAGS = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
const BOTTLED = 'CRASHLAB_BOTTLED';

export const isBottled = (): boolean => process.env[BOTTLED] === '1';

/** True where we may make namespaces: as root, with unshare and ip. */
export function canBottle(): boolean {
  const script = 'ip link set lo up && ip link add name va type veth peer name vb';
  return (
    process.getuid?.() === 0 &&
    spawnSync('unshare', [...FLAGS, 'sh', '-c', script], { stdio: 'ignore' }).status === 0
  );
}

/** Runs this very program again inside; gives its exit code. */
export async function runBottled(args: readonly string[]): Promise<number> {
  const command = [...FLAGS, process.execPath, ...args];
  const child = spawn('unshare', command, {
    stdio: 'inherit',
    env: { ...process.env, [BOTTLED]: '1' },
  });
  // The lab is the first process of its namespace, so with its end all of it is gone.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => child.kill('SIGKILL'));
  }
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

/** Runs a tool of the system; throws with what it said if it fails. */
export function tool(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: ${stderr?.trim() || String(error)}`);
}

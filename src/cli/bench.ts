/** `troupe bench`: measures this machine with the same program as `npm run bench`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { DONE, FAILED, type Register, USAGE } from './context.ts';

const LAUNCHER = fileURLToPath(new URL('../setup.mjs', import.meta.url));

export const register: Register = (program, run) => {
  program
    .command('bench [arguments...]')
    .description('measure this machine; arguments go to the bench')
    .allowUnknownOption()
    .action((rest: string[]) =>
      run(async ({ out }) => {
        const args = out.json ? [...rest, '--json'] : rest;
        const bench = spawn(process.execPath, [LAUNCHER, 'bench', ...args], { stdio: 'inherit' });
        const [code] = await once(bench, 'exit');
        return code === 0 ? DONE : code === 2 ? USAGE : FAILED;
      }),
    );
};

/** `troupe serve`: runs a node with the configured roles until it is told to stop. */
import { DONE, FAILED, type Register } from './context.ts';

export const register: Register = (program, run) => {
  program
    .command('serve')
    .description('run a node of the site')
    .action(() =>
      run(async (context) => {
        const config = await context.config();
        // The one place that imports main.ts: everything else is loaded only when a node really
        // starts.
        const { serve } = await import('../main.ts');
        await serve(config);
        // A node that had to give up says so by the process's exit code.
        return process.exitCode === undefined || process.exitCode === 0 ? DONE : FAILED;
      }),
    );
};

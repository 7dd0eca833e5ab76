#!/usr/bin/env node
/**
 * `troupe <verb>`: the command line under the project's own Node, from any directory. What a fresh
 * checkout lacks is set up first; only `serve` looks for a nats-server.
 */
import { join } from 'node:path';
import { prepare, ROOT } from './prepare.mjs';
import { explain, run } from './setup.mjs';

async function troupe(args) {
  const { node } = await prepare({ parts: 'run', server: args.includes('serve'), args });
  return run(node, [join(ROOT, 'src', 'cli', 'main.ts'), ...args]);
}

process.exitCode = await troupe(process.argv.slice(2)).catch(explain);

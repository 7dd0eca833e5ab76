/**
 * A thread that signs. It has the keys and no other state, so it may be ended at any moment; what it
 * was asked is asked again of another (dkim-pool.ts).
 */
import type { KeyObject } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../assert.ts';
import { signatureOf } from './dkim-keys.ts';
import type { SigningInput } from './dkim-pool.ts';

assert(parentPort !== null, 'dkim-worker is started by dkim-pool.ts only');
const port = parentPort;
const keys = workerData as readonly KeyObject[];
port.on('message', (inputs: readonly SigningInput[]) => {
  port.postMessage(
    inputs.map(({ key: index, text }) => {
      const key = keys[index];
      assert(key !== undefined, `there is no key ${index}`);
      return signatureOf(key, text);
    }),
  );
});

/** Listening on a port or a Unix socket, with errors that an operator can mend. */
import { lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { OperatorError, textOf } from '../errors.ts';

export type Where = { readonly host: string; readonly port: number } | { readonly path: string };

/** Listens. Throws OperatorError that names the setting `key` to change. */
export async function listenOn(server: Server, where: Where, key: string): Promise<void> {
  if ('path' in where) await removeStale(where.path, key);
  // MTAs run as users of their own: anyone on this machine may connect, as they may to the port.
  const how = 'path' in where ? { ...where, readableAll: true, writableAll: true } : where;
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error): void => reject(cannotListen(where, key, error));
    server.once('error', fail);
    server.listen(how, () => {
      server.off('error', fail);
      resolve();
    });
  });
}

/** The port a server listens on; null for a Unix socket, or when it does not listen. */
export function portOf(server: Server): number | null {
  const address = server.address();
  return address === null || typeof address === 'string' ? null : address.port;
}

/** A socket left behind by a crash is in the way, and nobody answers on it. */
async function removeStale(path: string, key: string): Promise<void> {
  const there = await lstat(path).catch(() => null);
  if (there === null) return;
  if (!there.isSocket()) {
    throw new OperatorError(`${path} is there, and is no socket`, `Choose another ${key}.`);
  }
  if (await answers(path)) throw cannotListen({ path }, key, inUse());
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function inUse(): Error {
  return Object.assign(new Error('another process listens there'), { code: 'EADDRINUSE' });
}

function cannotListen(where: Where, key: string, error: Error): OperatorError {
  const place = 'path' in where ? where.path : `${where.host} port ${where.port}`;
  const code = 'code' in error ? error.code : '';
  if (code === 'EADDRINUSE') {
    const next = `Stop what listens there, or choose another ${key}.`;
    return new OperatorError(`${place} is in use`, next, error);
  }
  if (code === 'EACCES') {
    const next = `Choose another ${key}: low ports and others' directories are not ours.`;
    return new OperatorError(`${place} may not be listened on`, next, error);
  }
  return new OperatorError(`${place}: ${textOf(error)}`, `Choose another ${key}.`, error);
}

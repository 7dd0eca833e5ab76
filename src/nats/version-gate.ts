/**
 * Servers that lose or double what they acknowledged are not used (design §4): not at the first
 * connection, and not at a later one, since the servers of a cluster may differ.
 */
import type { NatsConnection } from 'nats';
import { OperatorError, textOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { compareVersions, SERVER_VERSION_MIN } from './find-server.mjs';

/**
 * Refuses a server that is known to lose or to double what it acknowledged: older than {@link
 * SERVER_VERSION_MIN} (design §4). On one machine an operator may accept that with `durability:
 * relaxed`.
 */
export function checkVersion(
  version: string,
  site: { readonly durability: 'strict' | 'relaxed'; readonly isCluster: boolean },
): void {
  const isNew = compareVersions(version, SERVER_VERSION_MIN) >= 0;
  const isRelaxed = site.durability === 'relaxed';
  if (isNew && isRelaxed && site.isCluster) {
    throw new OperatorError(
      '`durability: relaxed` is for one machine: in a cluster a list could get two histories',
      'Take it out of the configuration of every node.',
    );
  }
  if (isNew || (isRelaxed && !site.isCluster)) return;
  throw new OperatorError(
    `nats-server ${version} is too old: it can lose mail that it acknowledged`,
    site.isCluster
      ? `Install nats-server ${SERVER_VERSION_MIN} or newer (2.15 is recommended) on every node.`
      : `Install nats-server ${SERVER_VERSION_MIN} or newer (2.15 is recommended), ` +
          'or set `durability: relaxed` if you accept to lose mail in a power cut.',
  );
}

/** What of the client's inside (nats 2.29.3, protocol.js) the following needs. */
type Inside = {
  readonly protocol?: {
    /** Of the dial under way: fails it, and the next server is dialled. */
    readonly connectError?: (error: Error) => void;
    processInfo(line: Uint8Array): void;
  };
};

const utf8 = new TextDecoder();

/**
 * From now on looks at what each server says of itself before anything is sent to it. One that
 * {@link checkVersion} refuses is left, and the next is dialled; the log says so once for each time
 * without a connection. Returns why, while that is so, else null.
 */
export function refuseOldServers(
  nc: NatsConnection,
  durability: 'strict' | 'relaxed',
  log: Log,
): () => string | null {
  const { protocol } = nc as Inside;
  let refused: string | null = null;
  if (protocol === undefined) return () => null;
  const processInfo = protocol.processInfo.bind(protocol);
  protocol.processInfo = (line) => {
    const { version, cluster } = JSON.parse(utf8.decode(line)) as Partial<typeof nc.info & object>;
    try {
      checkVersion(version ?? '', { durability, isCluster: cluster !== undefined });
    } catch (error) {
      const why = `${textOf(error)} (the server at ${nc.getServer()})`;
      if (refused !== why) log.error({ error: why }, 'a nats-server is left; the next is dialled');
      refused = why;
      protocol.connectError?.(error as OperatorError);
      return;
    }
    refused = null;
    processInfo(line);
  };
  return () => refused;
}

/** The nats-servers of the site, each asked for what it says to any client. */
import type { Nats } from './connect.ts';
import { infoAt } from './server-process.ts';

export type SeenServer = {
  /** `host:port`. */
  readonly at: string;
  /** Null: nobody answers there. */
  readonly version: string | null;
  readonly name: string;
  readonly cluster: string | null;
};

const PORT_DEFAULT = 4222;
/** Servers asked; a site has three or five. */
const SERVERS_MAX = 16;

/** Every server that the configuration or the server we are connected to names. */
export async function seenServers(nats: Nats, configured: string): Promise<readonly SeenServer[]> {
  const named =
    configured === '' ? [] : configured.split(',').map((url) => new URL(url.trim()).host);
  const told = nats.nc.info?.connect_urls ?? [];
  const all = [...new Set([...named, ...told, nats.nc.getServer()])].slice(0, SERVERS_MAX);
  const asked = await Promise.all(all.map(ask));
  // One server has several addresses; by its name it is told once.
  const byName = new Map(asked.map((server) => [server.name || server.at, server]));
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** When a server syncs what it stores, as its monitoring port says. */
export type SeenSync = { readonly name: string; readonly isAlways: boolean };

const MONITOR_MS_MAX = 2_000;

/** Asks the monitoring port at `url`; null where none answers, or its server has no JetStream. */
export async function syncAt(url: string): Promise<SeenSync | null> {
  try {
    const signal = AbortSignal.timeout(MONITOR_MS_MAX);
    const answer = await fetch(new URL('/varz', url), { signal });
    const { server_name: name, jetstream } = (await answer.json()) as {
      readonly server_name?: string;
      readonly jetstream?: { readonly config?: { readonly sync_always?: boolean } };
    };
    const { config } = jetstream ?? {};
    return config === undefined
      ? null
      : { name: name ?? url, isAlways: config.sync_always === true };
  } catch {
    return null;
  }
}

async function ask(at: string): Promise<SeenServer> {
  const url = new URL(`nats://${at}`);
  const port = url.port === '' ? PORT_DEFAULT : Number(url.port);
  const info = await infoAt(port, url.hostname.replaceAll(/^\[|\]$/g, ''));
  return {
    at,
    version: info?.version ?? null,
    name: info?.server_name ?? '',
    cluster: info?.cluster ?? null,
  };
}

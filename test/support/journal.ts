/**
 * The journal of a client that sends posts: what it knows of each, on the disk before it goes on.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';

/** `send`: about to be sent, perhaps again. `acked`: the site said 250. `refused`: it said 5xx. */
export type JournalLine = {
  readonly at: number;
  readonly kind: 'send' | 'acked' | 'refused';
  /** Stands in the post's X-Marker. */
  readonly marker: string;
  readonly list: string;
  readonly code?: number;
  /** SHA-256 in hex of what follows the header's empty line. */
  readonly bodySha?: string;
};

/** Every post of the client is known by its marker, in its header and in its Message-ID. */
export const messageIdOf = (marker: string): string => `<${marker}@client.example>`;

export type JournalFile = {
  /** On the disk when it returns. */
  write(line: Omit<JournalLine, 'at'>): void;
  close(): void;
};

export function openJournalFile(file: string): JournalFile {
  const handle = openSync(file, 'a');
  return {
    write(line) {
      writeSync(handle, `${JSON.stringify({ at: Date.now(), ...line })}\n`);
      fdatasyncSync(handle);
    },
    close: () => closeSync(handle),
  };
}

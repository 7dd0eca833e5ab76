/** `site.json` in the data directory: where this node listens, for tools on the same machine. Gone when it stops. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export type SiteNote = {
  readonly pid: number;
  readonly node: string;
  readonly smtpPort: number | null;
  readonly lmtpPort: number | null;
  readonly lmtpSocket: string | null;
  readonly httpPort: number | null;
  readonly httpUrl: string;
};

const fileIn = (data: string): string => join(data, 'site.json');

/** Written whole or not at all. */
export async function writeSiteNote(data: string, note: SiteNote): Promise<void> {
  const aside = `${fileIn(data)}.new`;
  await writeFile(aside, `${JSON.stringify(note)}\n`, { mode: 0o600 });
  await rename(aside, fileIn(data));
}

export async function removeSiteNote(data: string): Promise<void> {
  await rm(fileIn(data), { force: true });
}

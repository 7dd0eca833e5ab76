/** Types of `find-server.mjs`, which set-up runs before anything is installed. */
export const SERVER_VERSION_MIN: string;
export type FoundServer = { readonly binary: string; readonly version: string };
export function compareVersions(a: string, b: string): number;
export function versionOf(binary: string): string | null;
export function findServer(
  root: string,
  env: Readonly<Record<string, string | undefined>>,
): { readonly found: FoundServer | null; readonly passed: readonly string[] };

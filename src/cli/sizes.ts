/** Sizes as operators write them: `10MB`, `512 KiB`, `40000`. */

const SIZE = /^(\d{1,12}(?:\.\d{1,3})?)\s*(|b|k|kb|kib|m|mb|mib|g|gb|gib)$/i;
const POWERS: Readonly<Record<string, number>> = { '': 0, b: 0, k: 1, m: 2, g: 3 };

/** Bytes, or null where it is no size. `MB` is 1,000², `MiB` and a bare `M` are 1,024². */
export function parseSize(text: string): number | null {
  const match = SIZE.exec(text.trim());
  if (match === null) return null;
  const unit = (match[2] ?? '').toLowerCase();
  const base = unit.length === 2 ? 1_000 : 1_024;
  const bytes = Math.floor(Number(match[1]) * base ** (POWERS[unit.slice(0, 1)] ?? 0));
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/**
 * What every page has in common: one plain layout, one stylesheet, and the headers that keep a page
 * from doing anything but show itself. Everything that is put into a page is escaped by the
 * template; nothing here is ever raw.
 */
import { createHash } from 'node:crypto';
import { html, raw } from 'hono/html';

export type Html = ReturnType<typeof html>;

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
th { font-weight: 600; }
tbody tr { border-top: 1px solid #8884; }
td.number { text-align: right; white-space: nowrap; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #8884; padding: 1rem; }
button { font: inherit; padding: .5rem 1.2rem; }
.quiet { color: #777; }
`;

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/**
 * No script, no image, no frame, nothing from elsewhere; our one stylesheet by its hash; forms only
 * to ourselves.
 */
const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${STYLE_HASH}'`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

/**
 * On every answer. A token may stand in the address, so no other site is told it and no cache keeps
 * it.
 */
export const SAFE_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
  'X-Robots-Tag': 'noindex, nofollow',
};

/** A whole page. */
export function page(title: string, body: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${visible(title)}</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<h1>${visible(title)}</h1>
${body}
</body>
</html>`;
}

/**
 * Text of strangers: what steers a terminal or turns the direction of writing is shown as what it
 * is.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (c) => KEPT[c] ?? '\ufffd');
}

const KEPT: Readonly<Record<string, string>> = { '\n': '\n', '\t': '\t', '\r': '' };

/** A time as people and programs both read it. */
export function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/**
 * The keys of the configuration: their types, bounds and defaults, and in words what each must be.
 *
 * The description of a leaf completes the sentence "`smtp.port` must be …". `config.ts` reads the
 * file and the environment and checks them against this.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { isBan } from './mail/bans.ts';
import { BULK_MEMBERS, CLASS_ORDER } from './mail/class-order.ts';

export const ROLES = ['edge', 'incoming', 'host', 'outgoing', 'web'] as const;

const MIB = 1024 * 1024;
export const ROUTES_MAX = 32;
const RULES_MAX = 100;
const DOMAINS_MAX = 10_000;
const DKIM_KEYS_MAX = 1_000;
const TRUSTED_MAX = 1_000;
const BANS_MAX = 10_000;
const CLOSED = 'The site is closed for now, try again later';
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: MIB,
  gib: 1024 * MIB,
  tib: MIB * MIB,
};

const port = z.int().min(0).max(65_535).describe('a port: a whole number from 0 to 65535');
const file = z.string().min(1).describe('the path of a file');

const count = (min: number, max: number) =>
  z.int().min(min).max(max).describe(`a whole number from ${min} to ${max}`);

const bytes = (min: number, max: number, words: string) =>
  z
    .union([z.int(), z.string()])
    .transform((given) => bytesIn(given))
    .refine((given): given is number => given !== null && given >= min && given <= max)
    .describe(`a size such as "20GB", 10MiB or a number of bytes, ${words}`);

const list = <T extends z.ZodType>(of: T, max: number) =>
  z
    .array(of)
    .max(max)
    .describe(`a list of at most ${max}, each ${of.description ?? 'of keys and values'}`);

const domain = z
  .string()
  .max(253)
  .regex(/^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/)
  .describe('a domain name in lower case, such as lists.example.org');

const address = z
  .string()
  .refine((given) => isIP(given) !== 0)
  .describe('an IP address, such as 127.0.0.1');

const network = z
  .string()
  .refine(isNetwork)
  .describe('an IP address or a CIDR, such as 10.0.0.0/8');

const ban = z
  .string()
  .refine(isBan)
  .describe(
    'an address, @domain, @.domain for its subdomains, or a pattern such as spam-*@*.example',
  );

/** What is said while the site is closed; null while it is open. A line of an SMTP reply holds some 500 octets. */
const closed = z
  .union([
    z.boolean(),
    z.null(),
    z.enum(['true', 'false']).transform((given) => given === 'true'),
    z.string().regex(/^[\x20-\x7e]{1,200}$/),
  ])
  .transform((given) => (given === true ? CLOSED : given === false ? null : given))
  .describe('true, false, or what senders are told: at most 200 ASCII characters');

/** Enough to know an address from a domain; a list that is not there is nobody's mistake. */
const MAILBOX = /^[^\s@A-Z]+@[^\s@A-Z]+$/;

const label = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/)
  .describe('1 to 32 characters of a-z, 0-9 and `-`');

/** One outgoing MTA, from the file or from an operator's order. */
export const routeSchema = z.strictObject({
  name: label
    .refine((name) => name !== 'capture')
    .describe('1 to 32 characters of a-z, 0-9 and `-`, and not `capture`'),
  url: z
    .string()
    .refine((given) => isUrl(given, ['smtp:', 'smtps:', 'lmtp:']))
    .describe('a URL such as smtp://host:25, smtps://host:465 or lmtp://host:24'),
  weight: count(1, 1_000).default(1),
  role: z.enum(['primary', 'fallback']).default('primary').describe('primary or fallback'),
  connections: count(1, 200).default(5),
  messages: count(1, 100_000).default(1_000),
  recipients: count(1, 1_000).default(100),
  rate: count(1, 100_000).optional(),
  timeoutSeconds: count(1, 600).default(60),
  ehlo: domain.optional(),
  tls: z
    .enum(['opportunistic', 'required', 'off'])
    .default('opportunistic')
    .describe('opportunistic, required or off'),
  ca: file.optional(),
  user: z.string().min(1).max(255).optional().describe('a name'),
  password: z.string().min(1).max(255).optional().describe('a password'),
  passwordFile: file.optional(),
});

const rule = z
  .strictObject({
    list: z.string().regex(MAILBOX).optional().describe('the address of a list, in lower case'),
    domain: domain.optional(),
    class: z
      .enum(['notice', 'post', 'bulk', 'retry'])
      .optional()
      .describe('notice, post, bulk or retry'),
    routes: list(label, ROUTES_MAX).min(1).describe('a list of names of routes'),
  })
  .describe('of list, domain or class, and routes');

const dkimKey = z.strictObject({
  domain,
  selector: z
    .string()
    .max(100)
    .regex(/^[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?)*$/)
    .describe('a selector such as s2026, in lower case'),
  key: file,
});

const nats = z.strictObject({
  url: z
    .string()
    .refine((given) => given.split(',').every((one) => isUrl(one.trim(), ['nats:', 'tls:'])))
    .optional()
    .describe('a URL such as nats://host:4222, or several with commas between'),
  server: file.optional(),
  port: port.optional(),
  user: z.string().min(1).optional().describe('a name'),
  password: z.string().min(1).optional().describe('a password'),
  storage: bytes(256 * MIB, 1e15, 'at least 256MiB').optional(),
  monitor: z
    .string()
    .refine((given) => given.split(',').every((one) => isUrl(one.trim(), ['http:', 'https:'])))
    .optional()
    .describe('a URL such as http://host:8222, or several with commas between'),
});

export const schema = z.strictObject({
  data: z.string().min(1).optional().describe('the path of a directory'),
  node: label.optional(),
  hostname: domain.optional(),
  roles: list(z.enum(ROLES).describe(`one of ${ROLES.join(', ')}`), ROLES.length)
    .min(1)
    .default([...ROLES])
    .describe(`a list of some of ${ROLES.join(', ')}`),
  listen: address.default('127.0.0.1'),
  nats: nats.prefault({}),
  smtp: z
    .strictObject({
      port: port.default(2525),
      recipients: count(1, 10_000).default(100),
      connections: count(1, 10_000).default(100),
      connectionsPerAddress: count(1, 10_000).default(20),
      proxies: list(network, TRUSTED_MAX).default([]),
      xclient: list(network, TRUSTED_MAX).default([]),
    })
    .prefault({}),
  lmtp: z.strictObject({ port: port.default(8024), socket: file.optional() }).prefault({}),
  http: z
    .strictObject({
      port: port.default(8080),
      url: z
        .string()
        .refine((given) => isUrl(given, ['http:', 'https:'], true))
        .optional()
        .describe('a URL such as https://lists.example.org'),
    })
    .prefault({}),
  domains: list(domain, DOMAINS_MAX).min(1).default(['lists.localhost']),
  routes: list(routeSchema, ROUTES_MAX).default([]),
  routing: z
    .strictObject({
      strategy: z
        .enum(['weighted', 'round-robin', 'random', 'adaptive'])
        .default('weighted')
        .describe('weighted, round-robin, random or adaptive'),
      rules: list(rule, RULES_MAX).default([]),
    })
    .prefault({}),
  devmode: z.string().regex(MAILBOX).optional().describe('a mail address that gets all mail'),
  dkim: list(dkimKey, DKIM_KEYS_MAX).default([]),
  bans: list(ban, BANS_MAX).default([]),
  closed: closed.default(null),
  trusted: list(network, TRUSTED_MAX).default(['127.0.0.1', '::1']),
  tls: z.strictObject({ key: file, cert: file }).optional(),
  durability: z.enum(['strict', 'relaxed']).default('strict').describe('strict or relaxed'),
  log: z
    .strictObject({
      level: z
        .enum(['debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info')
        .describe('debug, info, warn, error, fatal or silent'),
    })
    .prefault({}),
  maxMessageBytes: bytes(65_536, 100 * MIB, 'from 64KiB to 100MiB').default(10 * MIB),
  lists: z
    .strictObject({
      passiveMs: count(100, 86_400_000).default(60_000),
    })
    .prefault({}),
  bounces: z
    .strictObject({
      checkpointEvents: count(1, 100_000).default(1_000),
      checkpointMs: count(10, 600_000).default(5_000),
      maxAgeMs: count(0, 86_400_000).default(900_000),
    })
    .prefault({}),
  outgoing: z
    .strictObject({
      ackWaitMs: count(1_000, 3_600_000).default(120_000),
      concurrency: count(1, 256).default(8),
      lifeHours: count(1, 720).default(120),
      retryMsMax: count(1_000, 86_400_000).default(21_600_000),
      senders: count(0, 256).optional(),
      bulkMembers: count(1, 10_000_000).default(BULK_MEMBERS),
      reservePercent: count(0, 90).default(CLASS_ORDER.reservePercent),
      weights: z
        .strictObject({
          notice: count(1, 1_000).default(CLASS_ORDER.weights.notice),
          post: count(1, 1_000).default(CLASS_ORDER.weights.post),
          bulk: count(1, 1_000).default(CLASS_ORDER.weights.bulk),
          retry: count(1, 1_000).default(CLASS_ORDER.weights.retry),
        })
        .prefault({}),
    })
    .prefault({}),
});

/** `20GB`, `512 MiB`, `1048576` or a number, in bytes; null for anything else. */
function bytesIn(given: number | string): number | null {
  if (typeof given === 'number') return given;
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(given.trim());
  const unit = UNITS[match?.[2]?.toLowerCase() ?? ''];
  return match === null || unit === undefined ? null : Math.floor(Number(match[1]) * unit);
}

function isNetwork(given: string): boolean {
  const [base = '', prefix, ...rest] = given.split('/');
  const version = isIP(base);
  if (version === 0 || rest.length > 0) return false;
  if (prefix === undefined) return true;
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128);
}

/** A scheme, a host and perhaps a port; a path only where links are built on it. */
function isUrl(given: string, schemes: readonly string[], mayHavePath = false): boolean {
  if (!URL.canParse(given) || !given.includes('://')) return false;
  const url = new URL(given);
  const isBare =
    (url.pathname === '' || url.pathname === '/') && url.search === '' && url.hash === '';
  return (
    schemes.includes(url.protocol) &&
    url.hostname !== '' &&
    url.port !== '0' &&
    (isBare || mayHavePath)
  );
}

// ── What there is ─────────────────────────────────────────────────────────

/** A key: its path (`*` for a list's items), its variable, and what it must be. */
export type Leaf = {
  readonly path: readonly string[];
  /** Null for what is inside a list: a variable sets the whole list. */
  readonly env: string | null;
  readonly kind: 'number' | 'text' | 'list';
  readonly expected: string;
};

let known: readonly Leaf[] | null = null;

/** Every key that a value can be given to; sections come after what is in them. */
export function leaves(): readonly Leaf[] {
  known ??= walk(schema, []);
  return known;
}

function walk(node: z.ZodType, path: readonly string[], words?: string): readonly Leaf[] {
  const expected = node.description ?? words ?? 'keys and values';
  if (
    node instanceof z.ZodOptional ||
    node instanceof z.ZodDefault ||
    node instanceof z.ZodPrefault
  ) {
    return walk(node.unwrap() as z.ZodType, path, node.description ?? words);
  }
  if (node instanceof z.ZodObject) {
    const inner = Object.entries(node.shape).flatMap(([key, child]) =>
      walk(child as z.ZodType, [...path, key]),
    );
    return [...inner, { path, env: null, kind: 'text', expected: 'keys and values' }];
  }
  const env = path.includes('*') ? null : variableOf(path);
  if (node instanceof z.ZodArray) {
    const items = walk(node.element as z.ZodType, [...path, '*']);
    return [...items, { path, env, kind: 'list', expected }];
  }
  return [{ path, env, kind: node instanceof z.ZodNumber ? 'number' : 'text', expected }];
}

/** `smtp.connectionsPerAddress` → `TROUPE_SMTP_CONNECTIONS_PER_ADDRESS`. */
function variableOf(path: readonly string[]): string {
  const words = path.map((step) =>
    step.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  );
  return `TROUPE_${words.join('_')}`;
}

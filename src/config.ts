/**
 * Configuration: defaults, then a YAML file, then the environment; checked before anything starts.
 *
 * A key `smtp.connectionsPerAddress` is `TROUPE_SMTP_CONNECTIONS_PER_ADDRESS` in the environment;
 * lists are JSON or have commas between. Relative paths in the file are relative to the file. All
 * mistakes are told at once, each with its line and with what was expected.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { availableParallelism, hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { z } from 'zod';
import {
  type Environment,
  explain,
  nothingRead,
  overlay,
  type Path,
  placeOf,
  readYaml,
  type Sources,
} from './config-read.ts';
import { type ROLES, schema } from './config-schema.ts';
import { OperatorError, textOf } from './errors.ts';
import type { ClassOrder } from './mail/class-order.ts';

export type Role = (typeof ROLES)[number];

/** One outgoing MTA, as configured. */
export type RouteConfig = {
  /** `[a-z0-9-]{1,32}`, unique. */
  readonly name: string;
  /** `smtp://host:port`, `smtps://…` or `lmtp://…`. What a file has as `user:password@` stands below. */
  readonly url: string;
  /** Its share among the routes of its role; 1 to 1000. */
  readonly weight: number;
  readonly role: 'primary' | 'fallback';
  /** Connections kept open at once by each node that sends, 1 to 200. */
  readonly connections: number;
  /** Messages over one connection before it is closed. */
  readonly messages: number;
  /** Recipients of one envelope in mode `shared`. */
  readonly recipients: number;
  /** Envelopes a second, of all nodes together; absent: as fast as it takes them. */
  readonly rate?: number | undefined;
  /**
   * For each answer, but 10 minutes for that to the final dot; and at most 30 for all before the first mail. A route that answers
   * nobody for so long is opened. 1 to 600.
   */
  readonly timeoutSeconds: number;
  /** Said in EHLO; absent: `hostname`. */
  readonly ehlo?: string | undefined;
  readonly tls: 'opportunistic' | 'required' | 'off';
  /** Whom its certificate is checked against, as PEM; in the file the path of it. Absent: the system's. */
  readonly ca?: string | undefined;
  readonly user?: string | undefined;
  /** From this node's configuration; stands nowhere else. */
  readonly password?: string | undefined;
  /** Absolute path of a file on each node that sends (config-secret.ts). */
  readonly passwordFile?: string | undefined;
};

/** How a route is chosen (src/smtp/choice.ts). */
export type RoutingConfig = {
  readonly strategy: 'weighted' | 'round-robin' | 'random' | 'adaptive';
  /** The first that fits a chunk names its routes. */
  readonly rules: readonly {
    readonly list?: string | undefined;
    readonly domain?: string | undefined;
    readonly class?: 'notice' | 'post' | 'bulk' | 'retry' | undefined;
    readonly routes: readonly string[];
  }[];
};

/** A key that signs the mail of a domain's lists. */
export type DkimConfig = {
  readonly domain: string;
  readonly selector: string;
  /** Absolute path of a PEM file. */
  readonly key: string;
};

/** All that an operator may decide, with every default filled in. Ports: 0 lets the system pick. */
export type Config = {
  /** Absolute path of the data directory. */
  readonly data: string;
  /** This node's name: `[a-z0-9-]{1,32}`. */
  readonly node: string;
  /** What we call ourselves in SMTP greetings and EHLO. */
  readonly hostname: string;
  readonly roles: readonly Role[];
  /** The address that SMTP, LMTP and HTTP listen on. */
  readonly listen: string;
  readonly nats: {
    /** `nats://host:port`, or several with commas between; absent: the embedded child. */
    readonly url?: string;
    /** The binary for the embedded child; absent: set-up found none. */
    readonly server?: string;
    /** The embedded child's; absent: 4222 if free at first start, else one the system picks. */
    readonly port?: number;
    readonly user?: string;
    readonly password?: string;
    /** Bytes that the embedded child may keep; absent: 60 % of what is free at first start. */
    readonly storage?: number;
    /** Where `troupe doctor` asks the servers of `url` how they sync: `http://host:port`, one a server, with commas between. */
    readonly monitor?: string;
  };
  readonly smtp: {
    readonly port: number;
    /** Recipients a transaction. */
    readonly recipients: number;
    readonly connections: number;
    /** For peers that are not `trusted`. */
    readonly connectionsPerAddress: number;
    /** Proxies (haproxy): each of their connections begins with a PROXY header, v1 or v2. Addresses and CIDRs, as the next. */
    readonly proxies: readonly string[];
    /** Who may say XCLIENT (nginx, Postfix as a proxy). */
    readonly xclient: readonly string[];
  };
  readonly lmtp: {
    readonly port: number /** Used in place of the port. */;
    readonly socket?: string;
  };
  readonly http: {
    readonly port: number /** What links in mail begin with; no slash at the end. */;
    readonly url: string;
  };
  /** Lists may be created on these; lower case. */
  readonly domains: readonly string[];
  /** Empty: outgoing mail is captured and sent nowhere. */
  readonly routes: readonly RouteConfig[];
  readonly routing: RoutingConfig;
  /** All mail goes to this address, and to nobody else. */
  readonly devmode?: string | undefined;
  /** Empty: nothing is signed. */
  readonly dkim: readonly DkimConfig[];
  /** Envelope senders whose posts and commands are refused (src/mail/bans.ts). */
  readonly bans: readonly string[];
  /** What is answered to all mail while the site is closed; null: it is open. */
  readonly closed: string | null;
  /** Our MTAs: addresses and CIDRs, exempt from limits an address. */
  readonly trusted: readonly string[];
  /** Readable PEM files; absent: no STARTTLS. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly durability: 'strict' | 'relaxed';
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent' };
  /** The site's limit; a list's own may be lower. */
  readonly maxMessageBytes: number;
  readonly lists: {
    /** A list that has had nothing to do for this long leaves memory. */
    readonly passiveMs: number;
  };
  readonly bounces: {
    /** Folded bounces are written after so many, or so many ms. */
    readonly checkpointEvents: number;
    readonly checkpointMs: number;
    /** Past this age, ms, they wait for no idle time any more. */
    readonly maxAgeMs: number;
  };
  /** `weights` and `reservePercent`: in which order the classes are sent, and what the large ones leave free. */
  readonly outgoing: ClassOrder & {
    /** How long a chunk may be in hand without a word before another runner gets it. */
    readonly ackWaitMs: number;
    /** Chunks in hand at once, of each route; never more than twice its connections. */
    readonly concurrency: number;
    /** A recipient is given up on so long after the first try. */
    readonly lifeHours: number;
    /** Whom an MTA refused for now waits no longer than this for the next try. */
    readonly retryMsMax: number;
    /** Processes at most that send besides the node itself while there is much to send; 0: none. */
    readonly senders: number;
    /** A post to more members than this is `bulk`. */
    readonly bulkMembers: number;
  };
};

/** `data` defaults to a place under the checkout: every verb finds the same site from anywhere. */
const ROOT = resolve(import.meta.dirname, '..');

/** One core is the node's own. */
const SENDERS = Math.max(1, availableParallelism() - 1);

type Given = z.output<typeof schema>;

/**
 * The whole configuration. `file` defaults to `TROUPE_CONFIG`, and to none.
 * Throws OperatorError that names every mistake, its `file:line` or variable, and the next step.
 */
export function loadConfig(from: { readonly file?: string; readonly env: Environment }): Config {
  const file = from.file ?? from.env.TROUPE_CONFIG;
  const read = file === undefined ? nothingRead() : readYaml(file);
  const base = file === undefined ? process.cwd() : dirname(resolve(file));
  const mistakes = [...read.mistakes];
  const inEnv = overlay(read.value, from.env, mistakes);
  const sources: Sources = { inFile: read.lineOf, inEnv };
  const parsed = schema.safeParse(read.value);
  if (!parsed.success) {
    mistakes.push(...parsed.error.issues.flatMap((issue) => explain(issue, sources)));
  }
  if (!parsed.success || mistakes.length > 0) throw refusal(mistakes);
  const config = complete(parsed.data, (key) => (inEnv.has(key) ? process.cwd() : base), from.env);
  const clashes = crossCheck(config, sources);
  if (clashes.length > 0) throw refusal(clashes);
  return config;
}

// ── Completing ────────────────────────────────────────────────────────────

function complete(given: Given, baseOf: (key: string) => string, env: Environment): Config {
  const path = (key: string, value: string): string => resolve(baseOf(key), value);
  const { nats, http, lmtp, outgoing, tls, ...rest } = given;
  const server = nats.server === undefined ? undefined : path('nats.server', nats.server);
  const socket = lmtp.socket === undefined ? undefined : path('lmtp.socket', lmtp.socket);
  return {
    ...rest,
    data: given.data === undefined ? resolve(ROOT, '.troupe/data') : path('data', given.data),
    node: given.node ?? nodeName(hostname()),
    hostname: given.hostname ?? hostname(),
    nats: present({ ...nats, server: server ?? (env.TROUPE_NATS_SERVER_FOUND || undefined) }),
    lmtp: present({ port: lmtp.port, socket }),
    dkim: given.dkim.map((one) => ({ ...one, key: path('dkim', one.key) })),
    outgoing: { ...outgoing, senders: outgoing.senders ?? SENDERS },
    http: { port: http.port, url: http.url?.replace(/\/+$/, '') ?? urlOf(given.listen, http.port) },
    ...(tls && { tls: { key: path('tls.key', tls.key), cert: path('tls.cert', tls.cert) } }),
    routes: given.routes.map((route) => routeFrom(route, (file) => path('routes', file))),
  };
}

type GivenRoute = Given['routes'][number];

/** Its login out of the URL, its files found. */
function routeFrom(given: GivenRoute, path: (file: string) => string): RouteConfig {
  const { ca, passwordFile } = given;
  const url = new URL(given.url);
  const { username, password } = url;
  const hasLogin = `${username}${password}` !== '';
  Object.assign(url, { username: '', password: '' });
  return {
    ...(hasLogin && { user: decoded(username) }),
    ...(password !== '' && { password: decoded(password) }),
    ...given,
    ...(hasLogin && { url: url.href }),
    ...(ca !== undefined && !PEM.test(ca) && { ca: contentOf(path(ca)) }),
    ...(passwordFile !== undefined && { passwordFile: path(passwordFile) }),
  };
}

/** What is not percent-encoded well is as it stands. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What begins so is the certificate itself, as a sender process is given it (senders.ts). */
const PEM = /^-----BEGIN /;

/** '' where it cannot be read, which `crossCheck` tells. */
function contentOf(file: string): string {
  return unreadable(file) === null ? readFileSync(file, 'utf8') : '';
}

/** The same without the keys that are undefined. */
function present<T extends object>(of: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(of).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** A host's name as a node's: lower case, what is not a letter or digit becomes `-`, at most 32. */
export function nodeName(host: string): string {
  const name = host
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 32)
    .replaceAll(/^-+|-+$/g, '');
  return name === '' ? 'node' : name;
}

function urlOf(listen: string, port: number): string {
  if (listen === '0.0.0.0' || listen === '::') return `http://localhost:${port}`;
  return `http://${listen.includes(':') ? `[${listen}]` : listen}:${port}`;
}

/** What each key alone cannot show. */
function crossCheck(config: Config, sources: Sources): readonly string[] {
  const mistakes: string[] = [];
  const say = (path: Path, text: string): void => {
    mistakes.push(`${placeOf(path, sources)}: \`${path.join('.')}\` ${text}`);
  };
  const ports: readonly (readonly [string, number])[] = [
    ['smtp', config.smtp.port],
    ...(config.lmtp.socket === undefined ? [['lmtp', config.lmtp.port] as const] : []),
    ['http', config.http.port],
  ];
  ports.forEach(([name, port], i) => {
    const other = ports.slice(0, i).find(([, taken]) => taken === port && port !== 0);
    if (other !== undefined)
      say([name, 'port'], `is ${port}, which \`${other[0]}.port\` has already`);
  });
  config.routes.forEach(({ name, ca, password, passwordFile }, i) => {
    if (password !== undefined && passwordFile !== undefined)
      say(['routes', i, 'passwordFile'], 'is one password too many: the route has `password`');
    if (ca === '') say(['routes', i, 'ca'], 'cannot be read, or is empty');
    if (config.routes.findIndex((route) => route.name === name) < i) {
      say(['routes', i, 'name'], `is \`${name}\`, which another route has already`);
    }
  });
  const isRoute = (wanted: string): boolean => config.routes.some(({ name }) => name === wanted);
  config.routing.rules.forEach((rule, i) => {
    for (const [j, name] of rule.routes.entries()) {
      if (!isRoute(name))
        say(['routing', 'rules', i, 'routes', j], `is \`${name}\`, which is none of \`routes\``);
    }
  });
  config.dkim.forEach((one, i) => {
    const isSame = (other: DkimConfig): boolean =>
      other.domain === one.domain && other.selector === one.selector;
    if (config.dkim.findIndex(isSame) < i) {
      say(['dkim', i, 'selector'], `is \`${one.selector}\`, which another key of the domain has`);
    }
  });
  if (config.nats.url === undefined && (config.nats.user ?? config.nats.password) !== undefined) {
    say(['nats', 'user'], 'is for `nats.url`; the embedded server makes its own password');
  }
  for (const part of ['key', 'cert'] as const) {
    const problem = config.tls === undefined ? null : unreadable(config.tls[part]);
    if (problem !== null) say(['tls', part], `cannot be read: ${problem}`);
  }
  return mistakes;
}

function unreadable(file: string): string | null {
  try {
    accessSync(file, constants.R_OK);
    return null;
  } catch (error) {
    return textOf(error);
  }
}

function refusal(mistakes: readonly string[]): OperatorError {
  const [first = '', ...rest] = mistakes;
  const what =
    rest.length === 0
      ? first
      : `the configuration has ${mistakes.length} mistakes:\n  ${mistakes.join('\n  ')}`;
  return new OperatorError(what, 'Correct it and start again; README.md lists every key.');
}

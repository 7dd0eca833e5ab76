/** The configuration: what it gives, and what an operator is told of a mistake. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Config, loadConfig, nodeName } from '../src/config.ts';
import { leaves } from '../src/config-schema.ts';
import { OperatorError } from '../src/errors.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-config-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(text: string): string {
  const path = join(directory, 'troupe.yaml');
  writeFileSync(path, text);
  return path;
}

function load(text: string, env: Record<string, string> = {}): Config {
  return loadConfig({ file: file(text), env });
}

/** What the operator is told, with the file's name shortened. */
function told(text: string, env: Record<string, string> = {}): string {
  try {
    load(text, env);
  } catch (error) {
    expect(error).toBeInstanceOf(OperatorError);
    expect((error as OperatorError).nextStep).not.toBe('');
    return (error as OperatorError).message.replaceAll(join(directory, 'troupe.yaml'), 'FILE');
  }
  throw new Error('the configuration was accepted');
}

describe('defaults', () => {
  test('without a file everything has a value that works on one machine', () => {
    const config = loadConfig({ env: {} });
    expect(config).toMatchObject({
      data: join(import.meta.dirname, '..', '.troupe', 'data'),
      roles: ['edge', 'incoming', 'host', 'outgoing', 'web'],
      listen: '127.0.0.1',
      nats: {},
      smtp: {
        port: 2525,
        recipients: 100,
        connections: 100,
        connectionsPerAddress: 20,
        proxies: [],
        xclient: [],
      },
      lmtp: { port: 8024 },
      http: { port: 8080, url: 'http://127.0.0.1:8080' },
      domains: ['lists.localhost'],
      routes: [],
      trusted: ['127.0.0.1', '::1'],
      durability: 'strict',
      log: { level: 'info' },
      maxMessageBytes: 10 * 1024 * 1024,
      outgoing: { ackWaitMs: 120_000 },
    });
    expect(config.node).toMatch(/^[a-z0-9-]{1,32}$/);
    expect(config).not.toHaveProperty('tls');
  });

  test('an empty file changes nothing', () => {
    expect(load('# nothing yet\n')).toEqual(loadConfig({ env: {} }));
  });

  test('links begin with the address that HTTP listens on', () => {
    expect(load('listen: "::1"\nhttp: {port: 81}').http.url).toBe('http://[::1]:81');
    expect(load('listen: 0.0.0.0').http.url).toBe('http://localhost:8080');
    expect(load('http: {url: "https://lists.example.org/"}').http.url).toBe(
      'https://lists.example.org',
    );
  });

  test('any host name gives a node name', () => {
    fc.assert(
      fc.property(fc.string(), (host) => {
        expect(nodeName(host)).toMatch(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/);
      }),
    );
    expect(nodeName('Mail.Example.org')).toBe('mail-example-org');
  });
});

describe('the file', () => {
  test('relative paths are relative to the file', () => {
    const config = load('data: store\nlmtp: {socket: run/lmtp}\nnats: {server: bin/nats-server}');
    expect(config.data).toBe(join(directory, 'store'));
    expect(config.lmtp.socket).toBe(join(directory, 'run/lmtp'));
    expect(config.nats.server).toBe(join(directory, 'bin/nats-server'));
  });

  test('a route needs a name and a URL, and gets the rest', () => {
    const config = load('routes:\n  - name: relay\n    url: smtp://mx.example.org:25\n');
    expect(config.routes).toEqual([
      {
        name: 'relay',
        url: 'smtp://mx.example.org:25',
        weight: 1,
        role: 'primary',
        connections: 5,
        messages: 1_000,
        recipients: 100,
        timeoutSeconds: 60,
        tls: 'opportunistic',
      },
    ]);
  });

  test('a login in the URL of a route is taken out of it, and one beside it comes first', () => {
    const routes = [
      { name: 'a', url: 'smtps://me:p%40ss@relay.example:465' },
      { name: 'b', url: 'smtp://me:old@relay.example', password: 'new', user: 'you' },
      { name: 'c', url: 'smtp://m%e@relay.example', passwordFile: 'c.password' },
    ];
    expect(load(JSON.stringify({ routes })).routes).toMatchObject([
      { url: 'smtps://relay.example:465', user: 'me', password: 'p@ss' },
      { url: 'smtp://relay.example', user: 'you', password: 'new' },
      { url: 'smtp://relay.example', user: 'm%e', passwordFile: join(directory, 'c.password') },
    ]);
    const [a] = routes.map((route) => ({ ...route, passwordFile: 'c.password' }));
    expect(told(JSON.stringify({ routes: [a] }))).toContain('`routes.0.passwordFile` is one');
  });

  test('a route may say how it is reached, and rules which mail it gets', () => {
    writeFileSync(join(directory, 'ca.pem'), 'PEM');
    const config = load(
      [
        'routes:',
        '- {name: a, url: "smtp://a:25", weight: 5, rate: 50, tls: required, ca: ca.pem, user: u, password: p}',
        '- {name: b, url: "lmtp://b:24", role: fallback, ehlo: out.example.org, messages: 10, recipients: 50}',
        'routing: {strategy: adaptive, rules: [{domain: example.org, class: bulk, routes: [b]}]}',
        'devmode: me@example.org',
      ].join('\n'),
    );
    expect(config.routes).toMatchObject([
      { name: 'a', weight: 5, rate: 50, tls: 'required', ca: 'PEM', user: 'u', password: 'p' },
      { name: 'b', role: 'fallback', ehlo: 'out.example.org', messages: 10, recipients: 50 },
    ]);
    expect(config.routing).toEqual({
      strategy: 'adaptive',
      rules: [{ domain: 'example.org', class: 'bulk', routes: ['b'] }],
    });
    expect(config.devmode).toBe('me@example.org');
  });

  test.each([
    ['20GB', 20e9],
    ['1.5 GiB', 1.5 * 1024 ** 3],
    ['300000000', 300_000_000],
    ['512MiB', 512 * 1024 ** 2],
  ])('a size may be %s', (text, bytes) => {
    expect(load(`nats: {storage: ${text}}`).nats.storage).toBe(bytes);
  });

  test.each([
    ['', null],
    ['closed: false', null],
    ['closed: true', 'The site is closed for now, try again later'],
    ['closed: We move until noon', 'We move until noon'],
  ])('%j closes the site with %j', (text, said) => {
    expect(load(text).closed).toBe(said);
  });

  test('what is written out for a sender process is read again as it is', () => {
    for (const text of ['', 'closed: true']) {
      const config = load(text);
      expect(load(JSON.stringify(config))).toEqual(config);
    }
  });

  test('bans are addresses, domains and patterns', () => {
    const bans = ['eve@evil.example', '@evil.example', '@.evil.example', 'spam-*@*.example'];
    expect(load(JSON.stringify({ bans })).bans).toEqual(bans);
    expect(load('').bans).toEqual([]);
  });

  test('ports may be 0: the system picks', () => {
    const config = load('smtp: {port: 0}\nlmtp: {port: 0}\nhttp: {port: 0}\nnats: {port: 0}');
    expect([config.smtp.port, config.lmtp.port, config.http.port, config.nats.port]).toEqual([
      0, 0, 0, 0,
    ]);
  });
});

describe('the environment', () => {
  test('a variable outranks the file', () => {
    const config = load('smtp: {port: 25}\ndomains: [a.example]', {
      TROUPE_SMTP_PORT: '2626',
      TROUPE_SMTP_CONNECTIONS_PER_ADDRESS: '7',
      TROUPE_DOMAINS: 'b.example, c.example',
      TROUPE_ROUTES: '[{"name":"r","url":"lmtp://127.0.0.1:24"}]',
      TROUPE_DATA: '/srv/troupe',
      TROUPE_BANS: '["@evil.example", "a*@x.example"]',
      TROUPE_CLOSED: 'true',
    });
    expect(config.bans).toEqual(['@evil.example', 'a*@x.example']);
    expect(config.closed).toMatch(/^The site is closed/);
    expect(load('closed: true', { TROUPE_CLOSED: 'false' }).closed).toBeNull();
    expect(config.smtp).toMatchObject({ port: 2626, connectionsPerAddress: 7 });
    expect(config.domains).toEqual(['b.example', 'c.example']);
    expect(config.routes[0]?.name).toBe('r');
    expect(config.data).toBe('/srv/troupe');
  });

  test('what is to be text stays text', () => {
    const env = { TROUPE_NATS_URL: 'nats://h:4222', TROUPE_NATS_PASSWORD: '12345' };
    expect(load('', env).nats.password).toBe('12345');
  });

  test('every key has a variable of its own', () => {
    const names = leaves().flatMap(({ env }) => (env === null ? [] : [env]));
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain('TROUPE_MAX_MESSAGE_BYTES');
  });

  test('a variable that is nearly ours is refused, others are let be', () => {
    expect(told('', { TROUPE_SMTP_PROT: '1' })).toBe(
      'TROUPE_SMTP_PROT: unknown variable; did you mean `TROUPE_SMTP_PORT`?',
    );
    expect(load('', { TROUPE_TEST: 'quick', TROUPE_NATS_STORE: '"/x"', PATH: '/bin' })).toEqual(
      load(''),
    );
  });

  test('a wrong value names the variable', () => {
    expect(told('smtp: {port: 25}', { TROUPE_SMTP_PORT: 'many' })).toBe(
      'TROUPE_SMTP_PORT: `smtp.port` must be a port: a whole number from 0 to 65535',
    );
    expect(told('', { TROUPE_ROUTES: '[{' })).toMatch(/^TROUPE_ROUTES: `routes` must be a list/);
  });
});

describe('mistakes', () => {
  test.each([
    ['listen: x', /^FILE:1: `listen` must be an IP address/],
    ['smtp:\n  port: abc', /^FILE:2: `smtp.port` must be a port: a whole number from 0 to 65535$/],
    ['smtp:\n  port: 70000', /^FILE:2: `smtp.port` must be a port/],
    ['smtp: 25', /^FILE:1: `smtp` must be keys and values$/],
    ['smtp:\n  recipients: 0', /^FILE:2: `smtp.recipients` must be a whole number from 1/],
    ['\nsmpt: {}', /^FILE:2: unknown key `smpt`; did you mean `smtp`\?$/],
    ['smtp:\n  port: 1\n  prot: 1', /^FILE:3: unknown key `smtp.prot`; did you mean `port`\?$/],
    ['zzzzzzzzzz: 1', /^FILE:1: unknown key `zzzzzzzzzz`$/],
    ['roles: [edge, cook]', /^FILE:1: `roles.1` must be one of edge, incoming/],
    ['domains: [Lists.Example]', /`domains.0` must be a domain name in lower case/],
    ['durability: lax', /`durability` must be strict or relaxed/],
    ['trusted: [10.0.0.0/33]', /`trusted.0` must be an IP address or a CIDR/],
    ['bans:\n- eve', /^FILE:2: `bans.0` must be an address, @domain/],
    ['bans: "@x"', /^FILE:1: `bans` must be a list of at most 10000, each an address/],
    ['\nclosed: "a\\nb"', /^FILE:2: `closed` must be true, false, or what senders are told/],
    ['closed: 7', /^FILE:1: `closed` must be true/],
    ['maxMessageBytes: 5', /`maxMessageBytes` must be a size .* from 64KiB/],
    ['nats:\n  url: http://x', /^FILE:2: `nats.url` must be a URL such as nats:/],
    ['nats:\n  user: me', /^FILE:2: `nats.user` is for `nats.url`/],
    ['node: "a b"', /`node` must be 1 to 32 characters/],
    ['http: {port: 2525}', /`http.port` is 2525, which `smtp.port` has already/],
    ['tls:\n  key: k.pem', /^FILE:1: `tls.cert` is missing; it must be the path of a file$/],
    ['a: [', /^FILE:\d: /],
    ['- 1', /^FILE:1: expected keys and values/],
    ['smtp: {port: 1}\nsmtp: {port: 2}', /^FILE:2: .*unique/],
  ])('%j is told with its line', (text, words) => {
    expect(told(text)).toMatch(words);
  });

  test.each([
    'http://mx:25',
    'smtp://',
    'mx.example.org:25',
    'smtp://mx:99999',
    'smtp://mx:25/path',
    'smtp:mx',
  ])('a route to %s is refused by the key and the line', (url) => {
    expect(told(`routes:\n  - name: r\n    url: ${url}\n`)).toMatch(
      /^FILE:3: `routes\.0\.url` must be a URL such as smtp:\/\/host:25/,
    );
  });

  test('two routes of one name are refused', () => {
    const text = 'routes:\n- {name: r, url: "smtp://a:25"}\n- {name: r, url: "smtp://b:25"}\n';
    expect(told(text)).toBe('FILE:3: `routes.1.name` is `r`, which another route has already');
  });

  test('the certificate of a route may be given itself instead of its file', () => {
    const ca = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n';
    const route = { name: 'r', url: 'smtp://a:25', ca };
    expect(load(JSON.stringify({ routes: [route] })).routes[0]?.ca).toBe(ca);
  });

  test('the certificate of a route that cannot be read is told', () => {
    expect(told('routes:\n- {name: r, url: "smtp://a:25", ca: none.pem}')).toContain(
      'FILE:2: `routes.0.ca` cannot be read',
    );
  });

  test.each([
    ['routing: {strategy: fastest}', 'must be weighted, round-robin, random or adaptive'],
    [
      'routes:\n- {name: a, url: "smtp://a"}\nrouting:\n  rules:\n  - {class: bulk, routes: [a, b]}',
      'FILE:5: `routing.rules.0.routes.1` is `b`, which is none of `routes`',
    ],
    ['routing: {rules: [{class: large, routes: [a]}]}', 'must be notice, post, bulk or retry'],
    ['routing: {rules: [{class: bulk, routes: []}]}', 'must be a list of names of routes'],
    ['devmode: me', 'must be a mail address that gets all mail'],
  ])('%s is refused', (text, why) => {
    expect(told(text)).toContain(why);
  });

  test('the route `capture` is ours', () => {
    expect(told('routes:\n- {name: capture, url: "smtp://a:25"}')).toContain('not `capture`');
  });

  test('TLS files that cannot be read are told', () => {
    expect(told('tls: {key: none.pem, cert: none.pem}')).toMatch(
      /`tls.key` cannot be read: ENOENT/,
    );
  });

  test('all mistakes are told at once', () => {
    const text = told('smtp: {port: x}\nlmtp: {port: x}\nnope: 1\n', { TROUPE_HTTP_PORT: 'x' });
    expect(text.split('\n')).toHaveLength(5);
    expect(text).toMatch(/^the configuration has 4 mistakes:\n/);
  });

  test('a file that is not there is told', () => {
    expect(() => loadConfig({ file: join(directory, 'none.yaml'), env: {} })).toThrow(
      /none\.yaml cannot be read: ENOENT/,
    );
  });

  test('whatever a file holds, the answer is a configuration or an OperatorError', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          expect(load(text).listen).toBe('127.0.0.1');
        } catch (error) {
          expect(error).toBeInstanceOf(OperatorError);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/**
 * A private Postfix for tests: its own queue, ports and log. Root only; nothing of the system's own
 * Postfix is touched.
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connectSmtp } from './smtp-client.ts';
import { until } from './until.ts';

const run = promisify(execFile);
const PROGRAM = '/usr/sbin/postfix';
/** Its programs, where Debian puts them. */
const DAEMONS = '/usr/lib/postfix/sbin';

export type Postfix = {
  readonly port: number;
  /** The last lines of its log. */
  log(): string;
  /** Lets go what an access table of it said HOLD to, all at once. */
  release(): Promise<void>;
  stop(): Promise<void>;
};

export type PostfixOptions = {
  readonly port: number;
  /** Mail for this domain goes to LMTP there. */
  readonly domain: string;
  readonly lmtpPort: number;
  /** All other mail goes by SMTP there. */
  readonly relayPort: number;
  /** Lines added to main.cf; a later one wins. `$etc` is its directory. */
  readonly more?: string;
  /** Lines added to master.cf. */
  readonly services?: string;
  /** Files beside main.cf, by name. */
  readonly files?: Readonly<Record<string, string>>;
};

/** Why there can be no Postfix here, or null. */
export function whyNoPostfix(): string | null {
  if (process.getuid?.() !== 0) return 'a private Postfix needs root';
  if (!existsSync(PROGRAM)) return 'postfix is not installed (apt-get install postfix)';
  return existsSync(join(DAEMONS, 'master')) ? null : `there is no ${DAEMONS}/master`;
}

/** Starts one; resolves when it listens. */
export async function startPostfix(options: PostfixOptions): Promise<Postfix> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-postfix-'));
  const log = join(directory, 'mail.log');
  chmodSync(directory, 0o755); // Its daemons run as another user.
  for (const name of ['etc', 'queue', 'lib']) mkdirSync(join(directory, name), { mode: 0o755 });
  await run('chown', ['postfix', join(directory, 'lib')]);
  const etc = join(directory, 'etc');
  const more = (options.more ?? '').replaceAll('$etc', etc);
  writeFileSync(join(etc, 'main.cf'), `${mainCf(directory, options)}${more}`);
  for (const [name, text] of Object.entries(options.files ?? {})) {
    writeFileSync(join(etc, name), text, { mode: 0o644 });
  }
  writeFileSync(join(etc, 'master.cf'), `${masterCf(options.port)}${options.services ?? ''}`);
  const control = (verb: string): Promise<unknown> => run(PROGRAM, ['-c', etc, verb]);
  await control('check');
  await control('start');
  const stop = async (): Promise<void> => {
    await control('stop').catch(() => undefined); // Waits for its processes.
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await until('postfix listens', async () => {
      (await connectSmtp(options.port)).drop();
      return true;
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port: options.port,
    log: () => (existsSync(log) ? readFileSync(log, 'utf8') : ''),
    release: async () => {
      await run('/usr/sbin/postsuper', ['-c', etc, '-H', 'ALL']);
      await run('/usr/sbin/postqueue', ['-c', etc, '-f']);
    },
    stop,
  };
}

function mainCf(directory: string, { domain, lmtpPort, relayPort }: PostfixOptions): string {
  return `
compatibility_level = 3.6
queue_directory = ${directory}/queue
data_directory = ${directory}/lib
daemon_directory = ${DAEMONS}
maillog_file = ${directory}/mail.log
maillog_file_prefixes = ${directory}
myhostname = mta.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
relay_recipient_maps =
relay_domains = ${domain}
relay_transport = lmtp:inet:127.0.0.1:${lmtpPort}
relayhost = [127.0.0.1]:${relayPort}
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_dns_support_level = disabled
lmtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 2s
`;
}

/** The stock services that such an instance needs, none in a chroot. */
function masterCf(port: number): string {
  const services = [
    `127.0.0.1:${port} inet n - n - - smtpd`,
    'pickup unix n - n 60 1 pickup',
    'cleanup unix n - n - 0 cleanup',
    'qmgr unix n - n 300 1 qmgr',
    'tlsmgr unix - - n 1000? 1 tlsmgr',
    ...['rewrite', 'bounce', 'defer', 'trace', 'verify'].map(
      (name) =>
        `${name} unix - - n - ${name === 'rewrite' ? '-' : '0'} ${
          name === 'rewrite' ? 'trivial-rewrite' : name === 'verify' ? 'verify' : 'bounce'
        }`,
    ),
    'flush unix n - n 1000? 0 flush',
    'proxymap unix - - n - - proxymap',
    'proxywrite unix - - n - 1 proxymap',
    'smtp unix - - n - - smtp',
    'relay unix - - n - - smtp',
    'showq unix n - n - - showq',
    'error unix - - n - - error',
    'retry unix - - n - - error',
    'discard unix - - n - - discard',
    'lmtp unix - - n - - lmtp',
    'anvil unix - - n - 1 anvil',
    'scache unix - - n - 1 scache',
    'postlog unix-dgram n - n - 1 postlogd',
  ];
  return `${services.join('\n')}\n`;
}

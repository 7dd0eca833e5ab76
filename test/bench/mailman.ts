/** Mailman 3 as Debian packages it, in a directory of its own: one list, its members, and LMTP to post by. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Mode } from '../../src/mail/chunk.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import { WRITTEN_TO } from './load.ts';
import type { Scene } from './scene.ts';
import { canConnect, type Sink } from './tools.ts';

const BIN = '/usr/lib/mailman3/bin';
/** Fifteen processes of Python, on a machine that has other work. */
const READY_MS_MAX = 5 * 60_000;
const STOP_MS_MAX = 60_000;
/** While it writes, its tables are locked. */
const LOCKED_MS_MAX = 30_000;
/** It holds a post that is not written to the list. */
const LIST = WRITTEN_TO;

/** Null, or the line that installs it. */
export function missingMailman(): string | null {
  if (existsSync(join(BIN, 'master'))) return null;
  return 'Mailman 3 is not installed; with: apt-get install --no-install-recommends mailman3';
}

export type Mailman = {
  readonly list: string;
  readonly lmtpPort: number;
  /** To how many it says it has sent the post with this Message-ID. */
  sentTo(messageId: string): number;
  /** Bounces that it has in its tables, and those of them that are in the members' scores. */
  bounces(): { readonly registered: number; readonly scored: number };
};

/** Everything that is not named here is Mailman's default; archiving is off by default. */
function configOf(
  directory: string,
  port: Readonly<Record<'rest' | 'lmtp' | 'sink', number>>,
  mode: Mode,
): string {
  return `[mailman]
site_owner: postmaster@lists.example.org
layout: bench
[paths.bench]
var_dir: ${directory}
bin_dir: ${BIN}
queue_dir: $var_dir/queue
list_data_dir: $var_dir/lists
log_dir: $var_dir/logs
lock_dir: $var_dir/locks
data_dir: $var_dir/data
cache_dir: $var_dir/cache
etc_dir: $var_dir/etc
messages_dir: $var_dir/messages
archive_dir: $var_dir/archives
template_dir: $var_dir/templates
pid_file: $var_dir/master.pid
lock_file: $lock_dir/master.lck
[webservice]
hostname: 127.0.0.1
port: ${port.rest}
[mta]
incoming: mailman.mta.null.NullMTA
smtp_host: 127.0.0.1
smtp_port: ${port.sink}
lmtp_host: 127.0.0.1
lmtp_port: ${port.lmtp}
configuration: python:mailman.config.postfix
verp_delivery_interval: ${mode === 'individual' ? 1 : 0}
[database]
class: mailman.database.sqlite.SQLiteDatabase
url: sqlite:///${directory}/data/mailman.db
`;
}

/** Starts it with one list of these members, who may post to it. It sends to the sink; `individual`: with VERP. */
export async function startMailman(
  scene: Scene,
  sink: Pick<Sink, 'port'>,
  members: readonly string[],
  mode: Mode,
): Promise<Mailman> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-mailman-'));
  scene.closing(() => rmSync(directory, { recursive: true, force: true }));
  const lmtpPort = await freePort();
  const config = join(directory, 'mailman.cfg');
  mkdirSync(join(directory, 'data'));
  const ports = { rest: await freePort(), lmtp: lmtpPort, sink: sink.port };
  writeFileSync(config, configOf(directory, ports, mode));
  await mailman(config, ['create', '--quiet', LIST]);
  const tables = join(directory, 'data', 'mailman.db');
  addMembers(tables, members);
  const asRows = await mailman(config, ['members', LIST]);
  if (asRows.trim().split('\n').length !== members.length) {
    throw new Error('this Mailman does not see its members: its tables are not as expected');
  }
  const master = spawn(join(BIN, 'master'), ['-C', config], { detached: true, stdio: 'ignore' });
  scene.closing(() => end(master));
  await until('Mailman listens', () => canConnect(lmtpPort), READY_MS_MAX);
  return {
    ...{ list: LIST, lmtpPort },
    sentTo: (messageId) => sentTo(join(directory, 'logs', 'smtp.log'), messageId),
    bounces: () => bouncesIn(tables),
  };
}

/** Its log has a line for each time that it is through with a post. */
function sentTo(file: string, messageId: string): number {
  if (!existsSync(file)) return 0;
  const lines = readFileSync(file, 'utf8').split('\n');
  const through = lines.filter((line) => line.includes(`${messageId} smtp to ${LIST} for `));
  return through.reduce((sum, line) => sum + Number(/ for (\d+) recips/.exec(line)?.[1]), 0);
}

function bouncesIn(file: string): { registered: number; scored: number } {
  const db = new DatabaseSync(file, { readOnly: true, timeout: LOCKED_MS_MAX });
  const of =
    'select count(*) as registered, coalesce(sum(processed), 0) as scored from bounceevent';
  const found = db.prepare(of).get();
  db.close();
  return { registered: Number(found?.registered), scored: Number(found?.scored) };
}

/** SIGTERM, and SIGKILL to all of its processes where that is not heeded. */
async function end(master: ReturnType<typeof spawn>): Promise<void> {
  if (master.exitCode !== null || master.pid === undefined) return;
  const { pid } = master;
  const gone = once(master, 'exit');
  master.kill('SIGTERM');
  const timer = setTimeout(() => process.kill(-pid, 'SIGKILL'), STOP_MS_MAX);
  await gone;
  clearTimeout(timer);
}

/** Runs a verb of Mailman's command line; what it printed. */
async function mailman(config: string, words: readonly string[]): Promise<string> {
  const asRoot = process.getuid?.() === 0 ? ['--run-as-root'] : [];
  const args = [...asRoot, '-C', config, ...words];
  const child = spawn(join(BIN, 'mailman'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`mailman ${words.join(' ')}: exit ${code}: ${complaint}`);
  return said;
}

/** The rows that `mailman addmembers` makes, which makes some 70 of them a second. */
function addMembers(file: string, members: readonly string[]): void {
  const db = new DatabaseSync(file);
  const insert = (table: string, columns: string) => {
    const places = columns.replaceAll(/\w+/g, '?');
    const statement = db.prepare(`insert into ${table} (${columns}) values (${places})`);
    const last = db.prepare(`select coalesce(max(id), 0) as id from ${table}`).get();
    let id = Number(last?.id);
    return (...values: (string | number | null)[]): number => {
      id += 1;
      statement.run(id, ...values);
      return id;
    };
  };
  const preference = insert('preferences', 'id, delivery_mode, delivery_status');
  const user = insert(
    '"user"',
    'id, display_name, _user_id, _created_on, is_server_owner, preferences_id',
  );
  const address = insert(
    'address',
    'id, email, display_name, verified_on, registered_on, user_id, preferences_id',
  );
  const member = insert(
    'member',
    'id, _member_id, role, list_id, address_id, preferences_id, bounce_score, last_warning_sent, total_warnings_sent',
  );
  const uid = insert('uid', 'id, uid');
  const newUid = (): string => {
    const made = randomUUID().replaceAll('-', '');
    uid(made);
    return made;
  };
  const now = '2026-11-01 00:00:00';
  db.exec('begin');
  for (const email of members) {
    const who = user('', newUid(), now, 0, preference(null, null));
    const at = address(email, '', now, now, who, preference(null, null));
    const listId = LIST.replace('@', '.');
    member(newUid(), 1, listId, at, preference(1, 1), 0, '0001-01-01 00:00:00', 0);
  }
  db.exec('commit');
  db.close();
}

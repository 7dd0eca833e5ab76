/** What `troupe doctor` asks of the nodes: each one's own account, their clocks, who owns what. */
import { INSPECT_NODES, INSPECT_SLOTS, inspectNode } from '../nats/subjects.ts';
import { type Check, fail, guarded, ok, warn } from './checks.ts';
import type { Context } from './context.ts';
import { nodesOf, type SlotRow, slotsOf } from './places.ts';
import { bytesText, durationText } from './print.ts';
import type { Site } from './site.ts';

/** Work is refused below this (design §11), bytes. */
export const FREE_BYTES_MIN = 512 * 1024 * 1024;
const FREE_BYTES_LOW = 4 * FREE_BYTES_MIN;
/** Clocks this far apart make times in ledgers and logs hard to read; nothing is lost by it. */
const SKEW_MS_MAX = 2_000;
const NODE_MS_MAX = 2_000;
/** Slots named in one line; the rest are counted. */
const NAMED_MAX = 8;

export async function nodeChecks(site: Site, { clock }: Context): Promise<readonly Check[]> {
  const checks = await guarded('nodes', async () => {
    const nodes = nodesOf(await site.request(INSPECT_NODES, undefined));
    const each = nodes.map(({ node }) =>
      guarded('node', async () => {
        const sentAt = clock.now();
        const answer = await site.request(inspectNode(node), undefined, NODE_MS_MAX);
        return ofNode(answer, (sentAt + clock.now()) / 2, clock.now() - sentAt);
      }),
    );
    return (await Promise.all(each)).flat();
  });
  const places = await guarded('slots', async () =>
    ofSlots(slotsOf(await site.request(INSPECT_SLOTS, undefined))),
  );
  return [...checks, ...places];
}

/** One node's answer; `askedAt` is our clock when it was written, give or take half of `tookMs`. */
export function ofNode(answer: unknown, askedAt: number, tookMs: number): readonly Check[] {
  const { node, blocked, quarantined, problems, diskFreeBytes, asOf } = nodeFacts(answer);
  const checks: Check[] = [ok('node', `${node} answers`)];
  if (asOf !== null && Math.abs(asOf - askedAt) > SKEW_MS_MAX + tookMs / 2) {
    const skew = durationText(Math.abs(asOf - askedAt));
    const way = asOf > askedAt ? 'ahead of' : 'behind';
    checks.push(warn('clock', `${node} is ${skew} ${way} this machine: see that both keep time`));
  }
  if (diskFreeBytes !== null) checks.push(diskCheck(diskFreeBytes, `on node ${node}`));
  checks.push(
    ...blocked.map((list) =>
      fail(
        'lists',
        `${list} is blocked: what it causes cannot be done, and its mail waits; ` +
          `troupe inspect list ${list} names the effect, mend that and it goes on by itself`,
      ),
    ),
    ...quarantined.map(({ list, why }) =>
      fail(
        'lists',
        `${list} is set aside on ${node} (${why}); its mail waits: ` +
          `troupe doctor --repair ${list} says what can be done`,
      ),
    ),
    ...problems.map((problem) => warn('node', `${node}: ${problem}`)),
  );
  return checks;
}

/** How much room there is, against what a node needs. */
export function diskCheck(free: number, where: string): Check {
  const text = `${bytesText(free)} free ${where}`;
  if (free < FREE_BYTES_MIN) return fail('disk', `${text}: new work is refused; make room`);
  return free < FREE_BYTES_LOW ? warn('disk', `${text}: make room soon`) : ok('disk', text);
}

/** Who owns what. */
export function ofSlots(slots: readonly SlotRow[]): readonly Check[] {
  const free = slots.filter(({ owner }) => owner === null);
  const moving = slots.filter(({ owner, shouldOwn }) => owner !== null && owner !== shouldOwn);
  if (free.length > 0) {
    const named = free.slice(0, NAMED_MAX).map(({ slot }) => slot);
    const more = free.length > NAMED_MAX ? ` and ${free.length - NAMED_MAX} more` : '';
    const text = `nobody owns ${named.join(', ')}${more}: their lists wait`;
    return [fail('slots', `${text}; see troupe slot ls, and start a node with the role host`)];
  }
  const about = moving.length > 0 ? `; ${moving.length} are to be handed over` : '';
  return [ok('slots', `each of ${slots.length} has an owner${about}`)];
}

/** What is read of a node's answer; a newer node may say more. */
export function nodeFacts(answer: unknown): {
  readonly node: string;
  readonly blocked: readonly string[];
  readonly quarantined: readonly { readonly list: string; readonly why: string }[];
  readonly problems: readonly string[];
  readonly diskFreeBytes: number | null;
  readonly asOf: number | null;
} {
  const fields = (typeof answer === 'object' && answer !== null ? answer : {}) as {
    readonly [field: string]: unknown;
  };
  const { node, blocked, quarantined, problems, diskFreeBytes, asOf } = fields;
  return {
    node: typeof node === 'string' ? node : 'a node',
    blocked: strings(blocked),
    quarantined: (Array.isArray(quarantined) ? quarantined : []).map((one) => ({
      list: String(one?.list),
      why: String(one?.why),
    })),
    problems: strings(problems),
    diskFreeBytes: typeof diskFreeBytes === 'number' ? diskFreeBytes : null,
    asOf: typeof asOf === 'number' ? asOf : null,
  };
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

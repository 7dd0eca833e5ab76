/** What `troupe cluster up` shows: servers, nodes, and which node owns which slot. Pure. */
import type { NodeRow, SlotRow } from './places.ts';
import { durationText, table } from './print.ts';

export type ClusterState = {
  readonly servers: readonly {
    readonly name: string;
    readonly pid: number | null;
    readonly port: number;
  }[];
  readonly nodes: readonly {
    readonly name: string;
    readonly pid: number | null;
    readonly smtpPort: number | null;
  }[];
  /** What any node answers; null: no node does at this moment. */
  readonly live: readonly NodeRow[] | null;
  readonly slots: readonly SlotRow[] | null;
};

const SLOTS_A_LINE = 32;

/** The lines of one look. */
export function viewOf(state: ClusterState): string[] {
  return [
    ...table(
      ['server', '>pid', '>port', 'state'],
      state.servers.map(({ name, pid, port }) => [name, pid ?? '-', port, runs(pid)]),
    ),
    '',
    ...table(
      ['node', '>pid', '>smtp', '>lease', '>slots', '>next for', 'state'],
      state.nodes.map(({ name, pid, smtpPort }) => {
        const live = state.live?.find(({ node }) => node === name);
        const lease = live === undefined ? '-' : durationText(live.leaseMsLeft);
        const how = live?.isDraining === true ? 'draining' : runs(pid);
        return [
          name,
          pid ?? '-',
          smtpPort ?? '-',
          lease,
          live?.slots ?? 0,
          live?.standby ?? 0,
          how,
        ];
      }),
    ),
    '',
    ...slotLines(state),
  ];
}

const runs = (pid: number | null): string => (pid === null ? 'gone' : 'runs');

/** One character a slot: the last of its owner's name, a dot where nobody owns it. */
function slotLines({ slots }: ClusterState): string[] {
  if (slots === null) return ['No node answers.'];
  const marks = slots.map(({ owner }) => owner?.at(-1) ?? '·').join('');
  const free = slots.filter(({ owner }) => owner === null).length;
  const lines: string[] = [];
  for (let from = 0; from < marks.length; from += SLOTS_A_LINE) {
    lines.push(`slots ${String(from).padStart(2)}  ${marks.slice(from, from + SLOTS_A_LINE)}`);
  }
  return [...lines, free === 0 ? 'Every slot has an owner.' : `${free} slots have no owner.`];
}

/** The same without what changes each second: where nothing of it changed, there is no news. */
export function newsOf(state: ClusterState): string {
  const { servers, nodes, slots } = state;
  const draining = state.live?.map(({ node, isDraining }) => [node, isDraining]);
  return JSON.stringify([servers, nodes, draining, slots?.map(({ owner }) => owner)]);
}

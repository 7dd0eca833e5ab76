/**
 * The names that code counts and times under, with their labels and what they mean. A name that is
 * not here is a bug: a test reads the source and says so.
 */

export type Named = { readonly help: string; readonly labels: readonly string[] };

/** Come out as `troupe_<name>_total`. */
export const COUNTERS: Readonly<Record<string, Named>> = {
  edge_accepted: { help: 'Mails answered 250', labels: ['protocol'] },
  edge_refused: { help: 'Replies that refused a mail or recipient', labels: ['protocol', 'code'] },
  edge_cut: { help: 'Mails that broke off before the final dot', labels: ['protocol'] },
  edge_turned_away: { help: 'Connections refused at once', labels: ['protocol', 'status'] },
  edge_bytes: { help: 'Bytes of mail received', labels: ['protocol'] },
  edge_bounces_waited: { help: 'Bounces that waited at RCPT while posts were sent', labels: [] },
  edge_bare_line_ends: { help: 'Bare CR or LF made CRLF on entry', labels: ['protocol'] },
  incoming_told: { help: 'Commands and bounces told of, by what they were', labels: ['what'] },
  incoming_loops: { help: 'Mails discarded because they had been here', labels: ['loop'] },
  incoming_parked: { help: 'Mails set aside by the incoming runner', labels: ['where'] },
  runner_done: { help: 'Deliveries disposed of', labels: ['runner'] },
  runner_parked: { help: 'Deliveries set aside because they threw', labels: ['runner'] },
  runner_left: { help: 'Deliveries left to come again', labels: ['runner'] },
  runner_tries_again: { help: 'Tries again of a delivery in hand', labels: ['runner'] },
  later_due: { help: 'What waited and was forwarded', labels: ['to'] },
  // `route` is `none` where no route was to be had, or a crash lost which it was.
  outgoing_accepted: { help: 'Recipients that an MTA accepted', labels: ['route', 'class'] },
  outgoing_deferred: {
    help: 'Recipients who wait: refused with 4xx, or no route was to be had',
    labels: ['route', 'class'],
  },
  outgoing_refused: { help: 'Recipients refused for good (5xx)', labels: ['route', 'class'] },
  outgoing_maybe: {
    help: 'Recipients whose connection was lost after the final dot: they may get it twice',
    labels: ['route', 'class'],
  },
  chunks_repeated: { help: 'Chunks sent from that somebody had before', labels: ['class'] },
  recipients_repeated: {
    help: 'Recipients of those whom no result names: at most so many got it twice',
    labels: ['class'],
  },
  route_replies: {
    help: 'Recipients that a route gave an outcome: accepted, deferred, refused, or unknown where it was lost after the dot',
    labels: ['route', 'outcome'],
  },
  route_failures: { help: 'Connections and transactions that failed', labels: ['route', 'how'] },
  outbox_done: { help: 'Effects done', labels: ['effect'] },
  outbox_failed: { help: 'Effects that failed and are tried again', labels: ['effect'] },
  mailbox_put_off: {
    help: 'Commands left in the mailbox because their list takes none',
    labels: [],
  },
  held_put_off: { help: 'Held mails that wait in MAIL because HELD is full', labels: [] },
  bounces_folded: { help: 'Events of BOUNCES folded into scores', labels: [] },
  bounce_checkpoints: { help: 'Checkpoints of folded bounces', labels: [] },
  bounce_checkpoint_bytes: { help: 'Bytes of rows in those checkpoints', labels: [] },
  bounce_verdicts: { help: 'Verdicts given to lists', labels: ['verdict'] },
  web_delivery_on: { help: 'Members who turned delivery on by a web link', labels: [] },
  web_unsubscribed: { help: 'Members who left by a web link', labels: ['how'] },
};

/** Observed in ms; come out as histograms `troupe_<name without _ms>_seconds`. */
export const DURATIONS: Readonly<Record<string, Named>> = {
  edge_ms: { help: 'From DATA to the reply', labels: ['protocol'] },
  runner_ms: { help: 'One delivery, from hand to its end', labels: ['runner'] },
  turn_ms: { help: 'One turn of a list, its append included', labels: [] },
};

/**
 * What an MTA may do to a sender, as rules and options of the sink: refuse, defer, hang, hang up or talk nonsense at any step, say
 * goodbye in the middle, take few recipients, drip its replies, and offer what it does not have.
 */
import type { Answer, SinkOptions, Step } from './sink.ts';

type Rule = (step: Step) => Answer;

export const STEPS = ['connect', 'ehlo', 'mail', 'rcpt', 'data', 'dot'] as const;

/** Steps of a transaction at which a refusal is about the mail. */
export const REFUSABLE = ['mail', 'rcpt', 'data', 'dot'] as const;

/** What may become of the message itself, on its way. */
export const BODY_TROUBLES: readonly Exclude<Answer, null>[] = [
  'drop',
  'hang',
  '421 4.3.2 going away',
];

/** The ways in which a step can go wrong and the next try may go right. */
export const TROUBLES: readonly Exclude<Answer, null>[] = [
  'drop',
  'hang',
  '421 4.3.2 going away',
  '451 4.3.0 not now',
  'banana',
];

/** The first `times` of this step go wrong. */
export const at = (command: Step['command'], answer: Answer, times: number): Rule => {
  return (step) => (step.command === command && step.nth <= times ? answer : null);
};

/** No more than `max` recipients an envelope. */
export const takesAtMost = (max: number, reply = '452 4.5.3 too many recipients'): Rule => {
  return ({ command, recipients }) => (command === 'rcpt' && recipients >= max ? reply : null);
};

/** Defers whoever it has not seen before, as a greylist does, at this provider only. */
export const greylists = (domain: string): Rule => {
  const seen = new Set<string>();
  return ({ command, argument }) => {
    if (command !== 'rcpt' || !argument.includes(`@${domain}>`) || seen.has(argument)) return null;
    seen.add(argument);
    return '450 4.2.0 greylisted, come back later';
  };
};

/** What it offers in EHLO and then does not keep to, and how the client must come out of it. */
export const LIES: readonly (SinkOptions & { readonly name: string })[] = [
  { name: 'offers nothing', extensions: [] },
  { name: 'drips', drips: true },
  { name: 'drips, and offers nothing', drips: true, extensions: [] },
  {
    name: 'offers PIPELINING, and hears only the first of what comes together',
    extensions: ['PIPELINING'],
    hearsOne: true,
  },
  { name: 'offers what nobody knows', extensions: ['X-BANANA 7', 'SIZE', 'AUTH', 'PIPELINING'] },
  { name: 'offers a SIZE that is no number', extensions: ['SIZE much', 'PIPELINING'] },
];

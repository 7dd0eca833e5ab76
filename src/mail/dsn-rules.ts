/**
 * What MTAs write around the recipients that they failed: the table that dsn-text.ts reads notices
 * by. A rule is for a family of MTAs, or for a way of speaking that many share. To teach a new form,
 * add a line here and a fixture.
 */
import { anyOf, LANGUAGES } from './dsn-languages.ts';
import { phrases } from './dsn-words.ts';

export type Rule = { readonly name: string; readonly says: RegExp };

function rule(name: string, says: RegExp): Rule {
  return { name, says };
}

/**
 * What stands above a list of recipients, tested against the lines before it joined into one. In
 * order: the families first, then words that many use.
 */
export const ABOVE: readonly Rule[] = [
  rule(
    'exim',
    phrases`
      following address(?:es|\(es\)) failed|not (?:yet )?been delivered to the following
      |not yet been delivered (?:is|are):$`,
  ),
  rule(
    'qmail',
    phrases`
      (?:wasn't able|was unable|unable) to deliver (?:your|the following) message
      |failure notice for`,
  ),
  rule('sendmail', /following addresses (?:had|have)(?: \w+){0,4} (?:errors|problems)/i),
  rule(
    'exchange',
    phrases`
      did not reach the following recipient|delivery (?:has )?failed to these (?:recipients
      |distribution)|following recipient\(s\) (?:could not|cannot) be reached
      |the following recipient\(s\)|generating server
      |diagnostic information for administrators`,
  ),
  rule('domino', /was not delivered to:?\s*$/i),
  rule('groupwise', /undeliverable to the following/i),
  rule(
    'notification',
    phrases`
      delivery to the following recipients?\b|address not found|message (?:not delivered
      |blocked)|recipient inbox full|delivery incomplete`,
  ),
  rule('yahoo', /unable to deliver (?:your )?message to the following address/i),
  rule('courier', /message to the following recipients cannot be delivered/i),
  rule('opensmtpd', /for the following list of recipients/i),
  rule('mailmarshal', /following recipients were affected/i),
  rule('communigate', /failed to deliver to|message (?:is|was) not delivered to/i),
  rule('notes', /failure reasons/i),
  rule('bigfoot', /cannot deliver:?$/i),
  rule('postfix', /the mail system\s*$/i),
  rule(
    'listed',
    phrases`
      (?:following|these|intended|specified|affected|undelivered|failed|listed|unsuccessful
      |bad|invalid|unknown)(?: \w+){0,3} (?:e-?mail |mail )?(?:address|recipient|user
      |destination|person|people|mailbox|account|mail ?id)`,
  ),
  rule(
    'listed',
    phrases`
      (?:deliver\w*|sent|send|undeliver\w*|reach\w*|forwarded|addressed|return\w*|rejected
      |fail\w*|refused|problem|error)\b[^@]{0,60}\b(?:to|for|by|from|user|recipients?
      |following|address\w*)\b[^@]{0,20}:?[-=\s*]*$`,
  ),
  rule('listed', /(?:recipients?|address(?:es)?|users?)(?:\(s\)|\(es\))?\s*:?[-=\s*]*$/i),
  rule(
    'listed',
    /(?:undeliver\w+|deliver\w+ (?:has )?(?:failed|failure)|not delivered)[:.]?[-=\s*]*$/i,
  ),
  rule('listed', /recipients?\b[^@]{0,30}\b(?:fail|error|reject|undeliver)\w*[^@]{0,10}$/i),
  rule('listed', /(?:did not|have not|has not|not) (?:be |been )?(?:receive|deliver)/i),
  ...LANGUAGES.map(({ name, listed }) => rule(`listed-${name}`, listed)),
];

/** A word for the recipient, and in some languages one more for the address. */
const LABEL = `(?:${anyOf('label').source})(?:の?(?:メール)?アドレス|邮?件?地址|電子郵件|주소|adresse)?`;

/** What stands straight before a recipient in its line. */
export const BEFORE: readonly Rule[] = [
  rule('log', /\bto ?= ?<?$/i),
  rule('amazon-ses', /"emailaddress\\?" ?: ?\\?"$/i),
  rule('dialogue', /rcpt to: ?<?$/i),
  rule('dialogue', /(?:^|[\s<])(?:error (?:from|in|on|while).{0,40})?rcpt(?: command)?[: ]+<?$/i),
  rule(
    'addressed',
    phrases`
      (?:could not|couldn't|cannot|can't|not) be (?:delivered|sent|reached
      |forwarded)(?: \w+){0,3}(?: to| for)[: ]+["'<[(]*$`,
  ),
  rule(
    'addressed',
    phrases`
      (?:undeliver(?:ed|able)|unable to deliver|failed|failure|error|problem|rejected|refused
      |bounced|returned)(?: [\w']+){0,6}(?: to| for| from address| recipient| address
      | user)?(?: is)?[: ]+["'<[(]*$`,
  ),
  rule(
    'addressed',
    phrases`
      following (?:recipient|address|user)(?:s|\(s\)|es|\(es\))?\b[^@:]{0,60}: ?["'<[(]*$
      |(?:expanded|generated) (?:from|by):? ["'<[(]*$
      |(?:delivery|deliver(?:ing|ed)?|sent|send(?:ing)?|message|mail|e-?mail|addressed
      |attempts?|destined|intended)(?: [\w']+){0,4} (?:to|for)[: ]+["'<[(]*$`,
  ),
  rule(
    'named',
    phrases`
      (?:failed |undeliver\w+ |invalid |unknown |bad |intended |original |final |rejected[ ]
      |unresolved )(?:e-?mail )?(?:recipients?|address(?:es)?|users?|mailbox|account
      |destination)(?:\(s\)|\(es\))? ?(?:was|is|name|address)? ?[:=]? ?["'<[(]*$`,
  ),
  rule(
    'named',
    phrases`
      (?:^|[\s*>-])(?:recipients?|recipient address|e-?mail address|user|mailbox|account
      |address|addressed to|delivery to|no such (?:user|account|mailbox|recipient)(?: here)?
      |destinat\w+|empfänger|to user|mail box|for user|for)(?:\(s\)
      |\(es\))?\s*[:=-]?\s*["'<[(]*$`,
  ),
  rule('named', new RegExp(`(?<![a-z])(?:${LABEL})\\s*[:：（]?\\s*["'<[(]*$`, 'i')),
];

/** What stands straight after one. */
export const AFTER: readonly Rule[] = [
  rule('sendmail', /^>?\s?\.\.\.\s/),
  rule(
    'verdict',
    phrases`
      ^["'>)\]]*[:,;]? *(?:\([^)]{0,60}\) ?)?(?:-+ ?)?(?:\[?(?:user|mailbox|recipient|address
      |account|host|domain) (?:is |was |has |does |name )?(?:unknown|not|unavail|disabled|full
      |over|exceed|doesn't|is full|suspended|inactive)|unknown|no such|invalid|not (?:found
      |known|listed|a valid|our|deliver)|unrouteable|undeliverable|bad address|rejected)`,
  ),
  rule(
    'verdict',
    phrases`
      ^["'>)\]]*[:,;]? *(?:(?:is|was|were|has|have|had|does|do|did|could|can|cannot|can't
      |couldn't|doesn't|didn't|isn't|will)\b.{0,50}(?:fail|not|n't|full|exceed|over|unknown
      |invalid|disabled|reject|undeliver|return|unavail|suspend|delay|close|inactive|block
      |unable|expired)|failed|on (?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[, ])`,
  ),
];

/** What stands before those who wrote, and those who may be written to: no recipients. */
export const NOT_BEFORE = phrases`
  (?:mail from|(?<!expanded |generated )\bfrom:|reply-to)[^@]{0,40}$
  |sender[^@,]{0,40}$
  |(?<!user )\bids?\b(?: (?:is|was))?[ :=]*<?$
  |(?:contact|e-?mail us|write to|forward (?:this|it)|report to|questions?\b)[^@]{0,60}$
  |(?:please|for (?:\w+ )?(?:assistance|help|information|details)|if you (?:have|need))[^@]{0,80}$`;

/** Local parts that are named as contacts, not as those who were not reached. */
export const CONTACT =
  /^(?:post-?master|mailer-daemon|abuse|help(?:desk)?|service-?desk|support|no-?reply)\b/i;

/** The same, where nothing but the address speaks for it. */
export const OFFICE = phrases`
  ^(?:admin(?:istrator)?|host-?master|webmaster|info|spam|security|double-?bounce|removed?
  |unsubscribe|contact|customer|service|blacklist|delist\w*)\b
  |^[^@]*-(?:owner|request|bounces|admin)@`;

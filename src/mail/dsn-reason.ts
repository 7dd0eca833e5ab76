/**
 * Why a recipient was refused, from what an MTA said. The words decide before the numbers do: many
 * MTAs say 5.7.1 or 554 to whatever they dislike, and few say `spam` when they mean something else.
 */
import { anyOf } from './dsn-languages.ts';
import { phrases } from './dsn-words.ts';

/**
 * - `user-unknown`, `moved`, `mailbox-disabled`, `mailbox-full`: about the member's mailbox;
 * - `host-unknown`, `network`: about the way to it;
 * - `spam`, `blocked` (the sending host's name or address), `authentication` (SPF, DKIM, DMARC),
 *   `policy`, `relaying`, `too-large`, `content`, `rate`: about us or about the post, never about
 *   the member;
 * - `expired`: tried until time was up; `loop`, `system`: their software; `unknown`: no telling.
 */
export type Reason =
  | 'user-unknown'
  | 'moved'
  | 'mailbox-disabled'
  | 'mailbox-full'
  | 'host-unknown'
  | 'network'
  | 'spam'
  | 'blocked'
  | 'authentication'
  | 'policy'
  | 'relaying'
  | 'too-large'
  | 'content'
  | 'rate'
  | 'expired'
  | 'loop'
  | 'system'
  | 'unknown';

/** Characters of a diagnostic that are read. */
const TEXT_LENGTH_MAX = 1_000;

/** What is said of us, though it names mailboxes and numbers of mailboxes on its way. */
const OURS: readonly (readonly [Reason, RegExp])[] = [
  [
    'rate',
    phrases`
      unusual rate of|receiving mail (?:at a rate|too (?:fast|quickly))|per (?:hour|day|minute)\b
      |too many (?:invalid |bad )?recipients`,
  ],
  [
    'policy',
    phrases`
      permission to send|mismatch|\bsender(?: address| domain)? (?:was |is )?(?:reject|refuse)
      |5\.1\.[78]\b`,
  ],
];

/** Mailboxes, and hosts that said it: what they are called is no reason. */
const NAMES = /[^\s<>@]{1,80}@[\w.-]{1,253}|\bhost [\w.-]{1,253} ?\[[^\]]{0,50}\]:? said:/g;

/** In order: the first that finds its words decides. */
const WORDS: readonly (readonly [Reason, RegExp])[] = [
  [
    'authentication',
    phrases`
      \bdmarc|\bspf\b|\bdkim|sender policy framework|unauthenticated (?:e-?)?mail
      |5\.7\.2[0-9]\b|550[ -]5\.7\.26|sender id \(pra\)|message (?:lacks|fails
      |failed) .{0,30}authenticat|authentication (?:information|checks)`,
  ],
  [
    'mailbox-full',
    phrases`
      quota|mail ?box.{0,24}\bfull\b|mail ?box .{0,60} is full|in-?box.{0,16}\bfull\b|mailfolder is full|account is full
      |\bfull (?:mail|in)box|(?:insufficient|not (?:have )?enough|out of|exceed\w*|over|no more
      |exhausted).{0,32}(?:storage|disk|space|mailbox)|mail ?box .{0,24}(?:exceed|over
      |size limit|too (?:big|large))|(?:storage|space|disk) .{0,24}(?:exceed|exhausted|full)
      |[45]\.2\.2\b|too much mail|over limit|file too large
      |too many messages (?:on|in)\b|messages in recipient's mailbox`,
  ],
  [
    'rate',
    phrases`
      rate.?limit|throttl|too many (?:messages|connections|mails|emails|sessions|concurrent)
      |too fast|unexpected volume|exceeded the (?:maximum )?(?:rate|number of messages)
      |4\.7\.28|(?:hourly|daily) (?:limit|quota|message)|try .{0,20}less often`,
  ],
  [
    'too-large',
    phrases`
      message (?:file |header )?(?:size|too (?:big|large|long))|size (?:of .{0,30} )?(?:exceed
      |limit|too)|too (?:big|large) (?:message|mail)|(?:exceed|over
      |larger than).{0,40}(?:message|mail|maximum|incoming).{0,10} size|messages? (?:is |are[ ]
      |was )?(?:too (?:big|large|long)|larger)|mail (?:size|is too)|5\.3\.4\b|5\.2\.3\b
      |it's too (?:big|large)|taille (?:maximale
      |du message)`,
  ],
  [
    'blocked',
    phrases`
      blacklist|black list|block ?list|\bblocked (?:by|using|at) [\w-]+\.[\w.-]+|\brbl\b|dnsbl
      |spamhaus|spamcop|barracuda(?:central|networks)|\bsorbs\b|spamrl|reputation|(?:ip|host
      |client|server|network) .{0,60}(?:is |was |been |has )(?:temporarily )?(?:blocked|banned
      |listed)|\bip address \S+ blocked|accepted from this ip|(?<!not )\blisted (?:by|in|on|at)\b|reverse (?:dns|host|lookup|name)|\bptr\b|cannot find your (?:hostname|reverse)
      |no reverse|rejected .{0,30}your ip|banned (?:ip|host|sending)|helo .{0,30}(?:rejected
      |invalid)|bad helo`,
  ],
  [
    'spam',
    phrases`
      spam|unsolicited|\bjunk\b|\bbulk e?-?mail|\bu[ber]ce?\b|uribl|surbl|phish
      |looks like (?:an )?advert|content (?:was )?(?:reject|filter|analysis|block)
      |message content|spamassassin|spambouncer|message (?:was |has been )?(?:filtered
      |identified)`,
  ],
  [
    'content',
    phrases`
      \bvirus|malware|attachments? (?:not|type|file|was|are|exceed|block|contain|or embedded)
      |(?:with|contain\w*|forbidden|prohibited|illegal|dangerous) (?:an? )?attachment
      |executable|infected|forbidden file|bad header|malformed (?:header|mime|message)
      |invalid header|bare (?:lf|cr|newline)|mime (?:error|type)|charset not|5\.6\.\d`,
  ],
  [
    'relaying',
    phrases`
      relaying to .{0,80}prohibited
      |relay(?:ing)? (?:access |is |mail )?(?:denied|not (?:allowed|permitted|possible)
      |prohibited|refused|attempt)|(?:unable|not (?:allowed|permitted)|cannot|denied|refuse
      |won't|will not|do not|does not|don't) (?:to )?relay|rcpthosts|not a (?:valid )?gateway
      |we don't relay|no relay|as a relay|cannot relay|authenticat(?:e|ion) (?:is )?required`,
  ],
  [
    'loop',
    phrases`
      too many (?:hops|"?received)|(?:mail|message) (?:is )?loop|loops? (?:back )?(?:to (?:my
      |me)|detected)|\bmx (?:record|list)s? .{0,60}(?:local host|back to)|routing loop|hop count|delivered-to|5\.4\.6\b|my own address`,
  ],
  [
    'host-unknown',
    phrases`
      name (?:server|service) (?:error|reply)|\b(?:host|domain|name server|server name
      |nameserver)\b[\w .'"<>()-]{0,50}(?:unknown|not (?:be )?(?:found|exist|resolve)
      |does ?n[o']t (?:exist|resolve)|lookup (?:failed|did not)|is not (?:a )?valid)
      |(?:unknown|no such|(?:find|resolve)(?: any)?|illegal) (?:host|domain|mail (?:server
      |exchanger|host)|mx\b)|nxdomain|name or service not known
      |no (?:valid )?mx|null ?mx
      |unrout(?:e)?able (?:mail )?domain|bad destination system|host address lookups failed
      |[45]\.1\.2\b|[45]\.4\.4\b|domain .{0,60}(?:existiert nicht|n'existe pas|no existe)
      |all relevant mx records|dns (?:error|failure|lookup)`,
  ],
  [
    'moved',
    phrases`
      (?:has|have) (?:been )?moved|no longer (?:at this address|works|employed)
      |mailbox (?:has )?moved|new address is|address (?:has )?changed|please forward to
      |user not local; please try|[45]\.1\.6\b`,
  ],
  [
    'mailbox-disabled',
    phrases`
      (?:mailbox|account|user|recipient|address|customer|domain|e-?mail).{0,80}(?:disabled
      |inactive|suspended|deactivated|discontinued|de-activated|cancel|closed|(?<!b)locked|frozen
      |not (?:active|activated)|no longer (?:active|available|valid|in use|accept(?:ing|s)|exists?)
      |has been removed|terminated|on vacation|dormant|limited\b|expired\b)|(?:disabled
      |inactive|suspended|deactivated|discontinued|locked) (?:mailbox|account|user|recipient)
      |\bis now disabled|ha expirado|not accepting (?:messages|mail|email)\b(?! from| with)|[45]\.2\.1\b|verf[uü]gt nicht`,
  ],
  [
    'user-unknown',
    phrases`
      \buser[\w ]{0,12}(?:unknown|not (?:found|known|exist|valid|listed))
      |unknown (?:or illegal |local[ -]?)?(?:user|recipient|mailbox|address|account|alias
      |customer|virtual)|mailbox name not allowed|no ?such ?(?:user|mailbox|recipient|person|address|account|local
      |e-?mail|customer|domain user|name|id)|(?:mailbox|recipient|account|address|alias|user
      |person|name|adresse|e-mail).{0,90}(?:unknown|not (?:found|exist|valid
      |recogni[sz]ed|known|available|match|unique|on post|ok\b|a member|in (?:our|my) )|cannot be verified
      |unavailable|do(?:es ?n[o']|sn')t exist|did(?:n't
      | not) (?:exactly )?match|isn't|unrouteable|invalid|is not a (?:valid|known))
      |recip(?:ient)?notfound|(?:invalid|illegal|bad|bad_|nonexistent|non-existent|wrong
      |undeliverable|incorrect|unrouteable|unroutable)[ _](?:recipient|mailbox|user|address
      |destination (?:mailbox|address)|e-?mail|rcpt|final|local)|no longer on server
      |no (?:mail ?box|user|account|recipient|valid recipient|matches)|not (?:listed in
      |a (?:valid|known|user|local|recognized)|our customer|known here|exist)|do(?:es|s)n't (?:have
      |exist|handle)|does not (?:have|exist|like recipient)|(?:don't|do not|couldn't|could not
      |can't|cannot) (?:have|know|verify|exist|recognize)|[45]\.1\.1\b|there is no (?:one|user
      |such)|malformed (?:recipient )?address|isn't in my|not recognized
      |not in (?:the )?(?:directory|address|database)|may not exist|address not found
      |wasn't found at|5\.4\.1\b.{0,80}address rejected: access denied
      |no longer (?:here|with)`,
  ],
  // What few say, after what many do.
  ['mailbox-full', anyOf('full')],
  ['user-unknown', anyOf('unknown')],
  [
    'network',
    phrases`
      connection (?:was )?(?:refused|reset|timed|dropped|closed|failed|lost)
      |connect(?:ion)? (?:to|attempt).{0,80}(?:refused|timed|failed|unable)|no route to host
      |unreachable|not reachable|(?:could not|couldn't|unable to|cannot|can't
      |failed to) (?:connect|contact|establish|reach|open)|(?:is )?not responding|no response
      |accept our requests to connect|not respond\b|connection .{0,60}broken
      |network error|host (?:is )?down|(?<!retry )timed? ?out|retry time not reached|bad connection
      |greeting`,
  ],
  [
    'expired',
    phrases`
      expired|too long|gave up|giv(?:ing|en) up after|within the (?:allowed|time)
      |retry timeout|maximum (?:delivery )?attempts|has not been collected|[45]\.4\.7\b
      |failed \d+ attempts|failing for a long time|delivery time|could not be delivered for
      |queue lifetime`,
  ],
  [
    'policy',
    phrases`
      polic(?:y|ies)|prohibit|not (?:allowed|authori[sz]ed|permitted|accept)|access denied
      |denied|permission|refuse|reject|restrict|blocked|banned|administrative|verification
      |verify|gr[ea]ylist|sender (?:address |domain |host )?(?:reject|denied|verif|not|unknown
      |block)|whitelist|filter|no permit|auth failed|by administrator|5\.7\.\d`,
  ],
  [
    'system',
    phrases`
      local (?:configuration|error|problem)|temporar|resources|i/o error|no such file|errno
      |internal (?:server )?error|configuration|cannot (?:open|create|append|write)
      |can't (?:create|open|write)|(?:mail )?system|try again|[45]\.3\.\d|[45]\.5\.\d
      |transaction failed|protocol|syntax|unexpected|command|child|lock|permission denied`,
  ],
];

/** Words that know less than the numbers beside them. */
const VAGUE: ReadonlySet<Reason> = new Set(['network', 'expired', 'policy', 'system']);

/** What an enhanced status says alone (RFC 3463, RFC 7505, RFC 7372), without its class. */
const STATUSES: Readonly<Record<string, Reason>> = {
  '1.0': 'user-unknown',
  '1.1': 'user-unknown',
  '1.2': 'host-unknown',
  '1.3': 'user-unknown',
  '1.4': 'user-unknown',
  '1.5': 'user-unknown',
  '1.6': 'moved',
  '1.10': 'host-unknown',
  '2.1': 'mailbox-disabled',
  '2.2': 'mailbox-full',
  '2.3': 'too-large',
  '3.4': 'too-large',
  '4.4': 'host-unknown',
  '4.6': 'loop',
  '4.7': 'expired',
};
/** What its subject says, where the detail says nothing. */
const SUBJECTS: Readonly<Record<string, Reason>> = {
  '1': 'policy',
  '2': 'system',
  '3': 'system',
  '4': 'network',
  '5': 'system',
  '6': 'content',
  '7': 'policy',
};

/** True if an enhanced status tells a reason without any words. */
export function isTelling(status: string | null): boolean {
  const [, subject = '', detail = ''] = status?.split('.') ?? [];
  return `${subject}.${detail}` in STATUSES;
}

/** The reason behind a diagnostic and an enhanced status such as `5.1.1`. Linear; never throws. */
export function reasonOf(text: string, status: string | null): Reason {
  const said = text.slice(0, TEXT_LENGTH_MAX).toLowerCase().replace(NAMES, '@');
  const [, subject = '', detail = ''] = status?.split('.') ?? [];
  const numbers = STATUSES[`${subject}.${detail}`] ?? null;
  for (const [reason, words] of OURS) if (words.test(said)) return reason;
  for (const [reason, words] of WORDS) {
    if (words.test(said)) return VAGUE.has(reason) ? (numbers ?? reason) : reason;
  }
  return numbers ?? SUBJECTS[subject] ?? 'unknown';
}

/**
 * Who wrote this: the software of a mail host, an automatic reply of a person's mailbox, or a
 * person. Only what a host may have written is searched for bounces, so that mail about bounces is
 * none.
 */

import type { Fields } from './dsn-fields.ts';
import type { Parts } from './dsn-parts.ts';
import { phrases } from './dsn-words.ts';
import { decodeWords } from './encoded-words.ts';

/** Senders that are software by name. */
const DAEMON = phrases`
    (?:^|[\s<"'._+-])(?:mailer[-_. ]?daemon|mail[-_. ]?daemon|mdaemon|post[-_ ]?(?:master
    |office)|mail(?:er)?[-_. ]?(?:admin(?:istrator)?|system|delivery|router|server|agent)
    |e?mail delivery|delivery (?:sub)?system|sys(?:tem )?admin(?:istrator)?\b|internet mail
    |smtp[\w-]*@|lsmtp|imss@|inetgw|listserv[-_. ]?daemon|ndr@|dsn@|nonde?liver
    |antivirus|smtp|mta|error-?mail@|uucp@|daemon@|mmdf|root@)|mailer-daemon|(?:^|[\s<"])bounces?@`;

/** Subjects that hosts put over what they could not deliver. */
const SUBJECT = phrases`
    ^(?:\*+\s*)?(?:\[[^\]]{0,40}\]\s*)?(?:undeliver|un-?sent|un?able to deliver|(?:mail
    |message|e-?mail|delivery|send(?:ing)?)[\w :,-]{0,40}(?:fail|error|problem|undeliver
    |could not|not deliver|return|notif|report|status|delay|warning|reject|block|abort|bounced)
    |return(?:ed|ing)[\w ]{0,12}(?:mail|message|to sender|e-?mail)|fail(?:ed
    |ure)[\w: ]{0,20}(?:mail|notice|deliver|message|notif|to)|non[- ]?deliver|nondeliv
    |un\w+ bounce|error (?:sending|in|while|delivering)|user unknown|unknown (?:user|address
    |recipient)|address(?:ee)? (?:unknown|not)|warning:|your (?:mail|message
    |e-?mail)\b.{0,80}(?:could|not|fail|undeliver|reject|block|return)|reject(?:ed|ing)|bounced?\b
    |automatically rejected|could not (?:send|deliver)|mailbox (?:full|unavail)
    |message you sent|processing error|no such user
    |(?:transient|permanent) (?:fail|error|deliver)
    |smtp (?:error|server|deliver)|\[?postmaster|unzustellbar|nicht zustell|nicht zugestellt
    |zustell|rücksendung|échec|non remis|message non|utilisateur|avis de non|no se (?:pudo
    |puede|ha podido)|no entregad|mensaje no|imposible|error al|devoluci|devuelto|mancat[ao]
    |impossibile|recapito|falha|não entreg|niet (?:bezorgd|afgeleverd|te bezorg)|onbestelbaar
    |ej levere|kunne ikke|nie dostarcz|niedostarcz|zwrot|недостав|не доставлен|не может
    |ваше сообщение|ошибка|сбой|配信|送信|返信エラー|不達|未配達|エラー|退信|系统退信|邮件|無法|无法|投递|投遞)`;

/** Of those, what no reply has: hosts mark their notices as replies too (RFC 3834 §2). */
const BOUNCED = phrases`
    ^(?:undeliver|returned mail|mail delivery fail|delivery (?:status notif|failure|notification)
    |failure notice|non[- ]?deliver|unzustellbar)`;

const REPLY_SUBJECT = phrases`
    (?:^|[\s:[(])(?:auto(?:matic|mated)?[-_ ]?(?:reply|response|answer|responder|matic reply)
    |autoreply|autoresponse|out of (?:the )?(?:office|town)|ooo\b|away from (?:the )?(?:office
    |my)|on (?:vacation|holiday|leave)|vacation\b|abwesen|automatische antwort
    |réponse automatique|absence|absent|respuesta autom|fuera de|risposta autom|fuori (?:sede
    |ufficio)|resposta autom|automatyczna|afwezig|automatisch antwoord|autosvar|automaattinen
    |автоответ|自動(?:応答|返信)|自动(?:回复|答复)|自動回覆|不在)`;

/** How the notices of hosts begin: no person does so, unless to quote one. */
const OPENING = phrases`
    ^[\s*=-]*(?:your (?:message|mail|e-?mail) (?:could not
    |couldn't|was not|wasn't|cannot|can't|has not|did not|to the following
    |to <?\S+@\S+ (?:could|was|has|can))|votre message n'a pas
    |this is an automatically generated|this message was (?:created|generated) automatically
    |(?:message )?delivery (?:to|of|has|failed|failure)|sorry, we were unable
    |unable to deliver|undeliver|message could not|we were unable to deliver|could not deliver
    |the following (?:message|mail|address|recipient)|a message (?:that )?you sent
    |hi\. (?:this is|the|mail|message|i)|-+ ?(?:the following|transcript|failed)
    |this report relates to)`;

/** What Amazon SES sends of a bounce, by itself or within another such text. */
const SES_BOUNCE = /^\s*\{[\s\S]{0,1500}?"notificationType\\?" ?: ?\\?"Bounce/;

/** How people begin. */
const GREETING =
  /^(?:hi|hello|hey|hallo)(?: (?:all|everyone|everybody|folks|there|\p{Lu}\p{Ll}+))?,\s/iu;

export type Writer = 'host' | 'automatic' | 'person';

/** Who wrote a message, as far as its header tells. */
export function writerOf({ header, type, notice }: Parts): Writer {
  const subject = subjectOf(header);
  if (isReport(type.type, type.parameters.get('report-type'))) return 'host';
  const isDaemon = isFromHost(header);
  if (header.has('x-failed-recipients')) return 'host';
  if (!isDaemon && !BOUNCED.test(subject) && isMarkedReply(header, subject)) return 'automatic';
  // An administrator is away too; and what an answer quotes behind its own words is not its subject.
  if (isDaemon && REPLY_SUBJECT.exec(subject)?.index === 0) return 'automatic';
  if (isDaemon) return 'host';
  if (GREETING.test(notice.trimStart())) return 'person';
  if (header.has('x-ms-embedded-report') || SUBJECT.test(subject)) return 'host';
  const isNotice = OPENING.test(firstWordsOf(notice)) || SES_BOUNCE.test(notice);
  if (isNotice && !header.has('list-id')) return 'host';
  if (/^<>$/.test(header.get('return-path')) || header.get('from') === '') return 'host';
  return 'person';
}

/** A report of delivery (RFC 6522 §3); of other things if it says so. */
function isReport(type: string, of: string | undefined): boolean {
  if (/^message\/(?:global-)?delivery-status$/.test(type)) return true;
  return type === 'multipart/report' && !/^(?:disposition|feedback)/i.test(of ?? '');
}

/** True if From or Return-Path says that a mail host wrote it. */
export function isFromHost(header: Fields): boolean {
  const from = decodeWords(header.get('from'));
  return (
    DAEMON.test(from) ||
    /<>\s*$/.test(from) ||
    /<(?:mailer-daemon|postmaster)\b/i.test(header.get('return-path'))
  );
}

/** Marked as an answer of a machine in a person's name (RFC 3834 §5, and what came before it). */
function isMarkedReply(header: Fields, subject: string): boolean {
  if (/^auto-(?:replied|notified)/i.test(header.get('auto-submitted'))) return true;
  if (header.has('x-autoreply') || header.has('x-autorespond')) return true;
  const precedence = `${header.get('precedence')} ${header.get('x-precedence')}`;
  return /auto.?reply/i.test(precedence) || (REPLY_SUBJECT.test(subject) && !SUBJECT.test(subject));
}

/** True if the header marks an automatic reply, or nothing better explains why it came. */
export function isAutoReply({ header }: Parts): boolean {
  if (isMarkedReply(header, subjectOf(header))) return true;
  if (isFromHost(header)) return false;
  const isNobodys = /^<>$/.test(header.get('return-path'));
  const isJunk = /^(?:bulk|junk)$/i.test(header.get('precedence')) && !header.has('list-id');
  return isNobodys || isJunk;
}

/** The subject, its encoded words decoded. */
export function subjectOf(header: Fields): string {
  return decodeWords(header.get('subject')).slice(0, 400).trim();
}

/** The first words that are not blank. */
function firstWordsOf(notice: string): string {
  return notice.slice(0, 600).trimStart().slice(0, 200).replace(/\s+/g, ' ');
}

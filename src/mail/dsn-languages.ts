/**
 * What MTAs say to people in languages other than English: that mail failed, that it is still being
 * tried, and what stands above and before the recipients. A row is a language, or several that share
 * their words. To teach one, add a row and a fixture.
 */
import { phrases } from './dsn-words.ts';

type Language = {
  readonly name: string;
  /** It could not be delivered, or not yet. */
  readonly failed: RegExp;
  /** It is still being tried. */
  readonly still: RegExp;
  /** Words above a list of recipients. */
  readonly listed: RegExp;
  /** A word before one recipient: `An:`. */
  readonly label: RegExp;
  /** The mailbox is full. */
  readonly full: RegExp;
  /** There is no such mailbox. */
  readonly unknown: RegExp;
};

export const LANGUAGES: readonly Language[] = [
  {
    name: 'de',
    failed: phrases`
      nicht (?:\S+ ){0,3}(?:zugestellt|zugestelt|ausgeliefert|zustell|erreich|gesendet)
      |unzustellbar|fehler bei der (?:nachricht|zustell)|fehlgeschlagen|existiert nicht`,
    still: phrases`
      (?:wird|werden) (?:\w+ ){0,3}(?:weiter(?:hin)?|erneut|noch \w+mal) (?:\w+ ){0,3}versuch
      |noch nicht (?:\w+ )?(?:zugestellt|ausgeliefert)|weitere(?:n)? (?:zustell)?versuch|verzögert`,
    listed: /folgende|nachstehend|empfänger|adressat|zugestellt|ausgeliefert|zustell/i,
    label: /empfänger|adresse|an/,
    full: /(?:postfach|mailbox|speicher).{0,60}(?:voll|überschritten|erschöpft)|zu ?viele (?:e-?)?mails/,
    unknown:
      /unbekannt|existiert nicht|nicht gefunden|kein(?:e|en)? (?:solche|g[uü]ltige|benutzer)/,
  },
  {
    name: 'fr',
    failed: phrases`
      n'(?:a|ont) (?:pas )?(?:encore )?(?:pas |pu |été )|non (?:remis|distribu|délivr)
      |impossible de|échec|n'existe pas`,
    still: /pas encore (?:pu|été)|nouvelles? tentatives?|retardée?\b|réessa/i,
    listed:
      /suivant|destinataire|n'(?:a|ont) (?:pas )?(?:encore )?pu|remis|distribu|délivr|parven/i,
    label: /destinataire|adresse|à/,
    full: /(?:bo[iî]te|mailbox|quota|espace).{0,60}(?:pleine?|satur|dépass)/,
    unknown: phrases`
      inconnu|inexistant|introuvable|n'existe pas|pas été trouvé
      |(?:utilisateur|destinataire) (?:invalide|absent)`,
  },
  {
    name: 'es-ca',
    failed: phrases`
      no (?:se )?(?:ha |pudo |puede |fue )?(?:podido|entregad|entregar|ser)|no existe\b
      |error (?:de|al|en) (?:la )?(?:entreg|envi)|imposible entregar|no s'ha pogut`,
    still:
      /todavía|aún no|seguir\w* intent|(?:volver|continuar)\w* .{0,12}intent|retrasad|retardad/i,
    listed: /siguiente|destinatari|entreg|direcci/i,
    label: /destinatario|para/,
    full: /(?:buz[oó]n|cuota|espacio).{0,60}(?:llen[oa]|exced|superad)/,
    unknown:
      /desconocid|no existe|no (?:se )?(?:ha |pudo )?(?:encontr|estaba registrad)|inexistente/,
  },
  {
    name: 'pt',
    failed:
      /não (?:pôde|foi|pode|entreg|existe)|falh(?:a|ou) (?:\w+ )?(?:entreg|envi|ao|na)|falhou/i,
    still: /ainda não|continuar\w* .{0,12}tenta|novas? tentativas?|atrasad/i,
    listed: /seguinte|destinatári|entreg|endereço|abaixo/i,
    label: /destinatário|para/,
    full: /(?:caixa|cota|espaço).{0,60}(?:chei[ao]|lotad|exced)/,
    unknown: /não (?:existe|(?:foi |pôde ser )?encontrad)|desconhecid|inexistente|inválid/,
  },
  {
    name: 'it',
    failed: phrases`
      non (?:\w+ )?(?:\w+ )?(?:recapitat|consegn|riuscit)|impossibile|mancat[oa]|non esiste`,
    still: /non ancora|ancora in (?:corso|coda)|(?:ulteriori|nuov[ie]) tentativ|ritardat/i,
    listed: /seguent|destinatari|consegn|recapit|indirizz/i,
    label: /destinatario|per/,
    full: /(?:casella|spazio|quota).{0,60}(?:pien[ao]|esaurit|superat)/,
    unknown: /sconosciut|non esiste|inesistente|non (?:è stato )?trovat/,
  },
  {
    name: 'nl',
    failed: /niet (?:\w+ )?(?:worden )?(?:afgeleverd|bezorgd)|mislukt|onbestelbaar|bestaat niet/i,
    still: /nog niet|nog (?:steeds )?geprobeerd|opnieuw (?:te )?(?:proberen|geprobeerd)|vertraagd/i,
    listed: /volgende|geadresseerde|ontvanger|bezorgd|afgeleverd/i,
    label: /ontvanger|aan/,
    full: /(?:postvak|mailbox|postbus).{0,60}vol\b/,
    unknown: /onbekend|bestaat niet|niet gevonden/,
  },
  {
    name: 'nordic',
    failed: phrases`
      k[au]?n(?:de)? ?(?:ikke|inte)|kunne ikke|mislyk|misslyck|gick inte|ej lever|ei voitu
      |epäonnistu|ei ole olemassa`,
    still: /försena|forsinke|ännu inte|ennå ikke|endnu ikke|viivästy|yritetään uudelleen/i,
    listed: /följande|mottagare|følgende|mottaker|modtager|vastaanottaj/i,
    label: /mottagare|mottaker|modtager|till?|vastaanottaja/,
    full: /(?:postlåda|brevlåda|postboks|postkasse|postilaatikko).{0,60}(?:full|fuld|täynnä)/,
    unknown: phrases`
      okänd|ukjent|ukendt|hittades inte|finns inte|finnes ikke|findes ikke
      |(?:ble|blev) ikke funne[td]|ei löydy|ei ole olemassa|tuntematon`,
  },
  {
    name: 'slavic',
    failed: phrases`
      nie (?:mógł|może|został|dostarcz|powiodł|udało)|nelze |nebyl[ao]? (?:\w+ )?doruč|nedoruč
      |nezdařil|nepodařil|nepodaril|zlyhal|nije (?:moguće|isporučen)|isporuka nije|ni uspel
      |не (?:может|мож|удалось|было|доставл|могут|вдал|є|беше|могла)|недостав|сбой
      |не существует|не найден|невозможно|неуспе`,
    still: phrases`
      jeszcze nie|kolejn\w+ prób|ponawian|opóźnion|dosud ne|zpoždě|oneskor|(?:ещ[её]|пока) не
      |задерж|продолж\w+ попыт|попытки .{0,30}(?:продолж|повтор)|будет повтор`,
    listed: phrases`
      następując|adres|odbiorc|dostarcz|následující|příjemc|doruč|príjemc|primatelj|primaoc
      |следующ|получател|адрес|доставл|одержувач|наступн`,
    label: /odbiorca|adres\w*|příjemce|адрес\w*|получател\w*|кому/,
    full: phrases`
      (?:skrzynk|schránk|почтов\S+ ящик|ящик|квота).{0,60}(?:pełn|przepełn|pln[áaýe]
      |переполн|превыш)`,
    unknown: phrases`
      nie (?:istnieje|ma\b|znaleziono)|nieznan|neexistuje|nebyla nalezena|neznám
      |не существует|не найден|не знайден|нет такого|неизвест|отсутствует`,
  },
  {
    name: 'hu-ro-tr',
    failed: phrases`
      nem (?:sikerült|lehet|kézbes)|sikertelen|nu (?:a|au) (?:putut|fost)|eşuat|eșuat
      |teslim edilemedi|iletilemedi|gönderilemedi|başarısız|ulaştırılamadı`,
    still: /még nem|késik|késlelt|întârzi|încă nu|henüz|gecikti|tekrar denen/i,
    listed: /következő|címzett|următo|destinatari|aşağıdaki|alıcı/i,
    label: /címzett|destinatar|alıcı/,
    full: /(?:postafiók|căsuț|kutu).{0,60}(?:betelt|megtelt|plin|dolu)/,
    unknown:
      /nem (?:található|létezik)|ismeretlen|nu (?:există|a fost găsit)|bulunamadı|bilinmeyen/,
  },
  {
    name: 'el-he-ar',
    failed: /δεν |απ[έο]τυ[χγ]|αδυναμία|נכשל|לא ניתן|לא נמסר|فشل|تعذر|لم يتم/i,
    still: /καθυστ|עוכב|מתעכב|تأخير|تأخر/i,
    listed: /παραλήπτ|נמענ|المستلم/i,
    label: /παραλήπτης|נמען|المستلم/,
    full: /γεμάτ|מלאה|ممتلئ/,
    unknown: /δεν (?:υπάρχει|βρέθηκε)|לא נמצא|לא קיימ|غير موجود|لم يتم العثور/,
  },
  {
    name: 'south-east-asia',
    failed:
      /tidak (?:dapat|bisa|terkirim|berhasil)|\bgagal\b|không (?:thể|được|gửi)|ไม่สามารถ|ไม่สำเร็จ/i,
    still: /tertunda|belum (?:dapat|terkirim)|chưa (?:thể|được|gửi)|ล่าช้า/i,
    listed: /penerima|người nhận|ผู้รับ/i,
    label: /penerima|kepada|người nhận|ผู้รับ/,
    full: /(?:kotak|kuota).{0,40}penuh|hộp thư.{0,20}đầy|เต็ม/,
    unknown: /tidak (?:ditemukan|dikenal|ada)|không tồn tại|không tìm thấy|ไม่พบ/,
  },
  {
    name: 'cjk',
    failed: phrases`
      配信(?:でき|不能|に失敗|されません|エラー)|送信(?:でき|に失敗|エラー)|届け(?:られ|でき|する?ことが)|届きません|受け取(?:れ|ることが)
      |登録されていません|不一致です|存在しません|エラー|見つかりません
      |退信|退件|退回|无法|無法|失败|失敗|未能|错误|錯誤|不存在|실패|수 없|반송|못했습니다|못하였습니다|되지 않`,
    still:
      /まだ配信|遅延|再送を|再配信を|(?:继续|繼續|自动|自動)(?:尝试|嘗試|重试|重試)|延迟|延遲|稍后重试|지연|다시 시도/,
    listed:
      /以下|次の|宛先|宛て|受信者|下記|收件人|收件者|收信人|地址|無法|无法|送信|配信|받는 ?사람|수신자|수신인/,
    label: /宛先|宛て先|受信者|送信先|收件人|收件者|收信人|收件地址|邮箱|받는 ?사람|수신자|수신인/,
    full: phrases`
      容量.{0,12}(?:超|越|不足|いっぱい)|割り?当て.{0,12}超過|制限値?に?.{0,6}(?:達し|超過)|いっぱいで|邮箱.{0,6}(?:已满|空间不足)
      |信箱.{0,6}已滿|超出.{0,6}(?:容量|配额)|용량.{0,8}(?:초과|부족)`,
    unknown:
      /不存在|存在しない|存在しません|見つかりません|登録されていま|不明|查無此人|查无此人|找不到|존재하지 않|찾을 수 없/,
  },
];

/** Any of the words of a column in all languages, or of these. */
export function anyOf(
  column: Exclude<keyof Language, 'name'>,
  ...these: readonly RegExp[]
): RegExp {
  const all = [...these, ...LANGUAGES.map((one) => one[column])];
  return new RegExp(all.map(({ source }) => source).join('|'), 'i');
}

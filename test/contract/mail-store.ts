/** What every mail store must show, real or simulated. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { Address } from '../../src/mail/address.ts';
import {
  type Envelope,
  MAIL_PIECE_BYTES_MAX,
  type MailKind,
  type RawMail,
} from '../../src/mail/envelope.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import { decodeMail, mailRefOf, mailsOf } from '../../src/nats/mail-message.ts';
import type { MailStore, Message } from '../../src/world.ts';

export type OpenMailStore = {
  readonly store: MailStore;
  /** The messages of MAIL of one kind, oldest first, as a consumer gets them. */
  stored(kind: MailKind): Promise<readonly Message[]>;
};

const KEY = 'abcdefghijklmnopqrstuvwxyz' as ListKey;
const OTHER_KEY = 'zyxwvutsrqponmlkjihgfedcba' as ListKey;
const LARGE = 2 * MAIL_PIECE_BYTES_MAX + 12_345;

/** Bytes that differ everywhere, NUL, CR, LF and 8-bit among them. */
export function someBytes(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

/** Raw mail that comes in pieces of this size. */
export function rawMail(bytes: Uint8Array, pieceBytes = MAIL_PIECE_BYTES_MAX): RawMail {
  return {
    size: bytes.length,
    async *pieces() {
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        yield bytes.subarray(at, at + pieceBytes);
      }
    },
  };
}

export function someEnvelope(fields: Partial<Envelope> = {}): Envelope {
  return {
    sender: 'ann@example.org' as Address,
    recipients: ['dev@lists.example' as Address],
    smtputf8: false,
    eightBit: true,
    receivedAt: 1_795_000_000_000,
    peer: '192.0.2.7',
    helo: 'mx.example.org',
    trace: 't1',
    ...fields,
  };
}

const hash = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : createHash('sha256').update(bytes).digest('hex');

/** `open` gives an empty store each time. */
export function mailStoreContract(name: string, open: () => Promise<OpenMailStore>): void {
  describe(`a mail store (${name})`, () => {
    /** A mail of this size in MAIL, and where it is. */
    async function accepted(opened: OpenMailStore, bytes: Uint8Array) {
      await opened.store.accept(rawMail(bytes), [{ kind: 'post', envelope: someEnvelope() }]);
      const message = (await opened.stored('post')).at(-1);
      if (message === undefined) throw new Error('nothing was stored');
      return mailRefOf(message);
    }

    test.each([0, 1, 4_096, MAIL_PIECE_BYTES_MAX, MAIL_PIECE_BYTES_MAX + 1, LARGE])(
      'gives back a mail of %d bytes, byte for byte',
      async (size) => {
        const opened = await open();
        const bytes = someBytes(size);
        const ref = await accepted(opened, bytes);
        expect(hash(await opened.store.read(ref))).toBe(hash(bytes));
      },
    );

    test('gives back a mail that came in small pieces', async () => {
      const opened = await open();
      const bytes = someBytes(LARGE);
      const envelope = someEnvelope();
      await opened.store.accept(rawMail(bytes, 10_007), [{ kind: 'post', envelope }]);
      const [message] = await opened.stored('post');
      if (message === undefined) throw new Error('nothing was stored');
      expect(mailRefOf(message).parts).toHaveLength(2);
      expect(hash(await opened.store.read(mailRefOf(message)))).toBe(hash(bytes));
    });

    test('keeps the envelope as it was, whatever letters stand in it', async () => {
      const opened = await open();
      const envelope = someEnvelope({
        sender: '',
        recipients: ['dörte+☃@lists.example', '"a\\"b"@lists.example'] as Address[],
        smtputf8: true,
        helo: 'evil\r\nTroupe-Parts: [1]',
      });
      await opened.store.accept(rawMail(someBytes(10)), [{ kind: 'post', envelope }]);
      const [message] = await opened.stored('post');
      if (message === undefined) throw new Error('nothing was stored');
      const decoded = decodeMail(message);
      expect(decoded).toMatchObject({ envelope, parts: [] });
      expect(hash(decoded.lastPiece)).toBe(hash(someBytes(10)));
    });

    test('bounces that come at once share a message: each is whole, with its own envelope', async () => {
      const opened = await open();
      const sizes = [0, 1, 4_096, 7, 100_000, 300_000, MAIL_PIECE_BYTES_MAX + 1];
      const envelopes = sizes.map((size) =>
        someEnvelope({ trace: `of ${size}`, helo: 'evil\r\n],[', sender: 'dörte@x' as Address }),
      );
      const accepting = sizes.map((size, i) => {
        const envelope = envelopes[i] ?? expect.unreachable();
        return opened.store.accept(rawMail(someBytes(size)), [{ kind: 'bounce', envelope }]);
      });
      await Promise.all(accepting);
      const messages = await opened.stored('bounce');
      expect(messages.length).toBeLessThan(sizes.length);
      const mails = messages.flatMap((message) => mailsOf(message));
      const byTrace = new Map(mails.map((mail) => [mail.envelope.trace, mail]));
      expect(mails).toHaveLength(sizes.length);
      for (const [i, size] of sizes.entries()) {
        const { envelope, lastPiece, parts, place, alone } =
          byTrace.get(`of ${size}`) ?? expect.unreachable();
        expect(envelope).toEqual(envelopes[i]);
        if (parts.length > 0) continue;
        expect(hash(lastPiece)).toBe(hash(someBytes(size)));
        expect(decodeMail(alone)).toEqual({ envelope, lastPiece, parts });
        if (size > 256 * 1024) expect(place).toBeNull();
      }
      expect(mails.filter(({ place, parts }) => place === null && parts.length > 0)).toHaveLength(
        1,
      );
    });

    test('puts one message a kind, all on the same parts', async () => {
      const opened = await open();
      const bytes = someBytes(LARGE);
      await opened.store.accept(rawMail(bytes), [
        { kind: 'post', envelope: someEnvelope() },
        { kind: 'owner', envelope: someEnvelope({ trace: 't2' }) },
      ]);
      const messages = [...(await opened.stored('post')), ...(await opened.stored('owner'))];
      const refs = messages.map(mailRefOf);
      expect(messages.map((message) => decodeMail(message).envelope.trace)).toEqual(['t1', 't2']);
      expect(refs[0]?.parts).toEqual(refs[1]?.parts);
      for (const ref of refs) expect(hash(await opened.store.read(ref))).toBe(hash(bytes));
    });

    test('refuses an envelope that no header can hold, before anything is stored', async () => {
      const opened = await open();
      const recipients = Array.from(
        { length: 2_000 },
        (_, i) => `${i}${'a'.repeat(200)}@lists.example` as Address,
      );
      const accepting = opened.store.accept(rawMail(someBytes(10)), [
        { kind: 'post', envelope: someEnvelope({ recipients }) },
      ]);
      await expect(accepting).rejects.toMatchObject({ code: 452, status: '4.5.3' });
      expect(await opened.stored('post')).toHaveLength(0);
    });

    test('fails where a mail is not as large as it said', async () => {
      const opened = await open();
      const short = { ...rawMail(someBytes(10)), size: 11 };
      const accepting = opened.store.accept(short, [{ kind: 'post', envelope: someEnvelope() }]);
      await expect(accepting).rejects.not.toBeInstanceOf(MailError);
      expect(await opened.stored('post')).toHaveLength(0);
    });

    test('gives a message of MAIL as it was accepted', async () => {
      const opened = await open();
      const ref = await accepted(opened, someBytes(LARGE));
      const message = await opened.store.message(ref);
      if (message === null) throw new Error('it is gone');
      expect([message.seq, message.subject]).toEqual([ref.seq, 'troupe.mail.post']);
      expect(decodeMail(message)).toMatchObject({ envelope: someEnvelope(), parts: ref.parts });
      expect(mailRefOf(message)).toEqual(ref);
      expect(await opened.store.message({ in: 'mail', seq: 4_000_000 })).toBeNull();
    });

    test('says null for a mail that is not there', async () => {
      const { store } = await open();
      expect(await store.read({ in: 'mail', seq: 4_000_000 })).toBeNull();
      expect(await store.read({ in: 'held', seq: 1, parts: [4_000_000] })).toBeNull();
    });

    test.each([200, LARGE])('keeps and finds a copy of %d bytes', async (size) => {
      const opened = await open();
      const bytes = someBytes(size);
      const from = await accepted(opened, bytes);
      for (const where of ['held', 'archive'] as const) {
        const copy = await opened.store.keep(where, KEY, '7', from, { subject: 'Ünï' });
        expect(copy).toMatchObject({ in: where });
        if (copy === null) return;
        expect(await opened.store.find(where, KEY, '7')).toEqual(copy);
        expect(hash(await opened.store.read(copy))).toBe(hash(bytes));
      }
    });

    test('keeps a copy once, however often it is asked', async () => {
      const opened = await open();
      const from = await accepted(opened, someBytes(LARGE));
      const first = await opened.store.keep('held', KEY, '7', from, null);
      expect(await opened.store.keep('held', KEY, '7', from, null)).toEqual(first);
      const other = await opened.store.keep('held', KEY, '8', from, null);
      expect(other?.seq).not.toBe(first?.seq);
    });

    test('keeps an approved post in ARCHIVE from its copy in HELD', async () => {
      const opened = await open();
      const bytes = someBytes(LARGE);
      const from = await accepted(opened, bytes);
      const held = await opened.store.keep('held', KEY, '7', from, null);
      if (held === null) throw new Error('not kept');
      const archived = await opened.store.keep('archive', KEY, 'p1', held, null);
      if (archived === null) throw new Error('not kept');
      expect(hash(await opened.store.read(archived))).toBe(hash(bytes));
    });

    test('finds the right copy among many, and none of another list or place', async () => {
      const opened = await open();
      const refs = [];
      for (const id of ['1', '2', '3']) {
        const from = await accepted(opened, someBytes(100, Number(id)));
        refs.push(await opened.store.keep('held', KEY, id, from, null));
        await opened.store.keep('held', OTHER_KEY, `other-${id}`, from, null);
      }
      for (const [i, ref] of refs.entries()) {
        expect(await opened.store.find('held', KEY, String(i + 1))).toEqual(ref);
      }
      expect(await opened.store.find('held', KEY, '4')).toBeNull();
      expect(await opened.store.find('held', KEY, 'other-1')).toBeNull();
      expect(await opened.store.find('archive', KEY, '1')).toBeNull();
    });

    test('cannot keep a copy of what is gone', async () => {
      const opened = await open();
      const gone = { in: 'mail', seq: 4_000_000 } as const;
      expect(await opened.store.keep('held', KEY, '7', gone, null)).toBeNull();
      expect(await opened.store.find('held', KEY, '7')).toBeNull();
    });

    test('drops a held copy with its parts, and twice is not an error', async () => {
      const opened = await open();
      const from = await accepted(opened, someBytes(LARGE));
      const copy = await opened.store.keep('held', KEY, '7', from, null);
      if (copy === null) throw new Error('not kept');
      await opened.store.drop(copy);
      await opened.store.drop(copy);
      expect(await opened.store.read(copy)).toBeNull();
      for (const seq of copy.parts ?? []) {
        expect(await opened.store.read({ in: 'held', seq })).toBeNull();
      }
      expect(await opened.store.find('held', KEY, '7')).toBeNull();
    });

    test('keeps again what was dropped a moment ago', async () => {
      const opened = await open();
      const bytes = someBytes(LARGE);
      const from = await accepted(opened, bytes);
      const first = await opened.store.keep('held', KEY, '7', from, null);
      if (first === null) throw new Error('not kept');
      await opened.store.drop(first);
      const again = await opened.store.keep('held', KEY, '7', from, null);
      if (again === null) throw new Error('not kept');
      expect(hash(await opened.store.read(again))).toBe(hash(bytes));
      expect(await opened.store.find('held', KEY, '7')).toEqual(again);
    });

    test('never drops what is not held', async () => {
      const opened = await open();
      const from = await accepted(opened, someBytes(10));
      await expect(opened.store.drop(from)).rejects.not.toBeInstanceOf(MailError);
      expect(await opened.store.read(from)).not.toBeNull();
    });
  });
}

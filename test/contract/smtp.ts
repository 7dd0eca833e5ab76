/** What anything behind the `Smtp` seam must show: the real client against a sink, and the fake. */
import { describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { Address } from '../../src/mail/address.ts';
import type { Smtp, Transaction } from '../../src/world.ts';

export type SmtpUnderTest = {
  readonly smtp: Smtp;
  /** Who got a copy, in order of arrival. */
  taken(): readonly string[];
  /** This recipient gets this answer from now on. */
  answer(recipient: string, answer: '451' | '550' | 'lost before' | 'lost after'): void;
  /** No connection is to be had from now on. */
  goDown(): Promise<void>;
  close(): Promise<void>;
};

const address = (text: string): Address => text as Address;

export const transactionTo = (...recipients: readonly string[]): Transaction => ({
  sender: address('list-bounces@lists.example'),
  recipients: recipients.map(address),
  message: Buffer.from('Subject: one\r\n\r\n.dot first\r\nbody\r\n'),
  eightBit: false,
  smtputf8: false,
});

export function smtpContract(name: string, start: () => Promise<SmtpUnderTest>): void {
  describe(`${name} as Smtp`, () => {
    const within = async (use: (it: SmtpUnderTest) => Promise<void>): Promise<void> => {
      const it = await start();
      try {
        await use(it);
      } finally {
        await it.close();
      }
    };

    test('a connection carries one transaction after another', () =>
      within(async (it) => {
        const connection = await it.smtp.connect();
        for (const to of ['a@x.example', 'b@x.example', 'c@x.example']) {
          const [reply] = await connection.send(transactionTo(to));
          expect(reply?.code).toBe(250);
        }
        expect(connection.isOpen).toBe(true);
        expect(it.taken()).toEqual(['a@x.example', 'b@x.example', 'c@x.example']);
        connection.close();
        expect(connection.isOpen).toBe(false);
      }));

    test('each recipient of an envelope has its own reply, in order', () =>
      within(async (it) => {
        it.answer('busy@x.example', '451');
        it.answer('gone@x.example', '550');
        const connection = await it.smtp.connect();
        const replies = await connection.send(
          transactionTo('a@x.example', 'busy@x.example', 'gone@x.example', 'b@x.example'),
        );
        expect(replies.map((reply) => reply.code)).toEqual([250, 451, 550, 250]);
        expect(it.taken()).toEqual(['a@x.example', 'b@x.example']);
        connection.close();
      }));

    test('a connection whose envelope was refused carries the next transaction', () =>
      within(async (it) => {
        it.answer('gone@x.example', '550');
        const connection = await it.smtp.connect();
        const [refused] = await connection.send(transactionTo('gone@x.example'));
        const [taken] = await connection.send(transactionTo('a@x.example'));
        expect([refused?.code, taken?.code]).toEqual([550, 250]);
        connection.close();
      }));

    test('a connection lost before the message was sent is 421, and nobody has it', () =>
      within(async (it) => {
        it.answer('a@x.example', 'lost before');
        const connection = await it.smtp.connect();
        const replies = await connection.send(transactionTo('a@x.example', 'b@x.example'));
        expect(replies.map((reply) => reply.code)).toEqual([421, 421]);
        expect(connection.isOpen).toBe(false);
        expect(it.taken()).toEqual([]);
      }));

    test('a connection lost after the final dot is 0: not known', () =>
      within(async (it) => {
        it.answer('a@x.example', 'lost after');
        const connection = await it.smtp.connect();
        const [reply] = await connection.send(transactionTo('a@x.example'));
        expect(reply?.code).toBe(0);
        expect(connection.isOpen).toBe(false);
        expect(it.taken()).toEqual(['a@x.example']);
      }));

    test('a transaction on a closed connection is 421', () =>
      within(async (it) => {
        const connection = await it.smtp.connect();
        connection.close();
        const [reply] = await connection.send(transactionTo('a@x.example'));
        expect(reply?.code).toBe(421);
        expect(it.taken()).toEqual([]);
      }));

    test('what cannot be connected is a transient MailError 4.4.x', () =>
      within(async (it) => {
        await it.goDown();
        const error = await it.smtp.connect().catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(MailError);
        expect(error).toMatchObject({
          isTransient: true,
          status: expect.stringMatching(/^4\.4\./),
        });
      }));
  });
}

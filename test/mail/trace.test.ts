import fc from 'fast-check';
import { expect, test } from 'vitest';
import { plainRecipe } from '../../src/host/fanout.ts';
import { cook } from '../../src/mail/cook.ts';
import type { Envelope } from '../../src/mail/envelope.ts';
import { parseHeader } from '../../src/mail/header.ts';
import { receivedOf } from '../../src/mail/trace.ts';
import { LIST } from '../support/list-story.ts';

const ENVELOPE: Envelope = {
  sender: '',
  recipients: [LIST],
  smtputf8: false,
  eightBit: false,
  receivedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  peer: '192.0.2.1',
  helo: 'mx.example.net',
  trace: 'abc123',
};

test('our trace line says from whom, by whom, under which id, and when', () => {
  expect(receivedOf(ENVELOPE, LIST)).toBe(
    'from mx.example.net ([192.0.2.1]) by lists.example id abc123; Fri, 02 Jan 2026 03:04:05 +0000',
  );
});

test('it stands on top of what goes on, as one field, whatever the peer called itself', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (helo, peer) => {
      const received = receivedOf({ ...ENVELOPE, helo, peer }, LIST);
      const recipe = { ...plainRecipe('http://lists.example', LIST, 'forward'), received };
      const { bytes } = cook(Buffer.from('From: a@example.org\r\n\r\nx\r\n'), recipe);
      const header = parseHeader(bytes);
      if ('problem' in header) throw new Error(header.problem);
      expect(header.fields.map(({ name }) => name)).toEqual(['received', 'x-loop', 'from']);
      expect(header.get('received')).toBe(received);
    }),
  );
});

/**
 * The incoming runner: every recipient ends as a command, in the park, or, only for a loop, in the
 * log.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { dispose, LOOP_LOG_EVERY_MS } from '../../src/runners/incoming.ts';
import { DEV, JANE, LATE, machine, mailTo, OPS, PLAIN, world } from '../support/incoming-story.ts';

const DONE = { kind: 'done' };

describe('a post', () => {
  test('becomes one command for its list, with the hash of the mail as its id', async () => {
    const { needs, told, parked } = world();
    expect(await dispose(mailTo(['dev@lists.example']), needs)).toEqual(DONE);
    const post = {
      id: expect.stringMatching(/^[0-9a-f]{64}$/),
      from: [JANE],
      sender: JANE,
      subject: 'Hello',
      messageId: '<1@x>',
      problems: [],
      mail: { in: 'mail', seq: 7 },
      trace: 't1',
    };
    expect(told).toMatchObject([{ key: DEV.key, asked: { command: { type: 'post', post } } }]);
    const [first] = told;
    expect(first?.asked.command).toMatchObject({ post: { id: first?.asked.id } });
    expect(parked).toEqual([]);
  });

  test('to several lists becomes one command each', async () => {
    const { needs, told } = world();
    await dispose(mailTo(['dev@lists.example', 'ops@lists.example']), needs);
    expect(told.map(({ key }) => key)).toEqual([DEV.key, OPS.key]);
    expect(new Set(told.map(({ asked }) => asked.id)).size).toBe(2);
  });

  test('to one list under two spellings becomes one command', async () => {
    const { needs, told } = world();
    await dispose(mailTo(['dev@lists.example', 'DEV@lists.example']), needs);
    expect(told).toHaveLength(1);
  });

  test('I2: sent again it has the same id', async () => {
    const { needs, told } = world();
    await dispose(mailTo(['dev@lists.example']), needs);
    await dispose(mailTo(['dev@lists.example'], PLAIN, { seq: 99, trace: 't2' }), needs);
    expect(told[1]?.asked.id).toBe(told[0]?.asked.id);
  });

  test('I3: that cannot be read goes to its list, to be held', async () => {
    const { needs, told } = world();
    for (const raw of ['', '\0\r\n\r\n', `X: ${'x'.repeat(300_000)}`])
      expect(await dispose(mailTo(['dev@lists.example'], raw), needs)).toEqual(DONE);
    expect(told).toHaveLength(3);
    expect(told[2]?.asked.command).toMatchObject({ post: { problems: ['suspicious-mime'] } });
  });

  test('in parts is read whole, and its parts are named', async () => {
    const { needs, told, whole } = world();
    whole.set(7, Buffer.from(PLAIN));
    await dispose(mailTo(['dev@lists.example'], 'the last piece', { parts: [5, 6] }), needs);
    const mail = { in: 'mail', seq: 7, parts: [5, 6] };
    expect(told).toMatchObject([{ asked: { command: { post: { subject: 'Hello', mail } } } }]);
    const small = world();
    await dispose(mailTo(['dev@lists.example']), small.needs);
    expect(told[0]?.asked.id).toBe(small.told[0]?.asked.id);
  });

  test('whose parts are gone is parked', async () => {
    const { needs, told, parked } = world();
    await dispose(mailTo(['dev@lists.example'], 'x', { parts: [5] }), needs);
    expect(parked).toEqual([{ where: 'incoming', seq: 7, why: expect.stringContaining('gone') }]);
    expect(told).toEqual([]);
  });

  test('to a list that the mirror does not know yet finds it at the leader', async () => {
    const { needs, told, asked } = world();
    await dispose(mailTo(['late@lists.example', 'late-owner@lists.example']), needs);
    expect(told.map(({ key, asked: { command } }) => [key, command.type])).toEqual([
      [LATE.key, 'post'],
      [LATE.key, 'owner-mail'],
    ]);
    expect(asked).toContain('late@lists.example');
  });

  test('is tried again when the mailbox cannot take it: the failure is thrown on', async () => {
    const { needs, told, fail } = world();
    const away = new MailError(451, '4.3.0', 'try again later');
    fail(away);
    await expect(dispose(mailTo(['dev@lists.example']), needs)).rejects.toBe(away);
    fail(null);
    expect(await dispose(mailTo(['dev@lists.example']), needs)).toEqual(DONE);
    expect(told).toHaveLength(1);
  });
});

describe('robots', () => {
  test('mail to the owners becomes a command of its own', async () => {
    const { needs, told } = world();
    await dispose(mailTo(['dev-owner@lists.example', 'dev@lists.example']), needs);
    expect(told.map(({ asked }) => asked.command.type)).toEqual(['owner-mail', 'post']);
    expect(told[0]?.asked.id).toBe(`o.${told[1]?.asked.id}`);
  });

  test('a leave token removes its member, and speaks for nobody else', async () => {
    const { needs, told } = world();
    await dispose(mailTo([machine('u', 12)], ''), needs);
    expect(told).toEqual([
      {
        key: DEV.key,
        asked: {
          id: 'u.12.7',
          command: {
            type: 'remove-member',
            who: { number: 12 },
            by: { kind: 'token', member: 12 },
          },
        },
      },
    ]);
  });

  test.each([
    ['dev-bounces@lists.example', 'bounce'],
    ['dev-bounces+jane=example.org@lists.example', 'bounce'],
    [machine('b', 12), 'bounce'],
    ['dev-request@lists.example', 'command'],
    ['dev-join@lists.example', 'command'],
    ['dev-leave@lists.example', 'command'],
    ['dev-confirm+x@lists.example', 'command'],
    [`c+${'a'.repeat(26)}@lists.example`, 'command'],
    ['nobody@lists.example', 'unknown'],
    [machine('b', 12).replace('b+', 'u+'), 'unknown'],
  ])('mail to %s is set aside whole: %s', async (recipient, where) => {
    const { needs, told, parked } = world();
    expect(await dispose(mailTo([recipient], PLAIN, { sender: '' }), needs)).toEqual(DONE);
    expect(parked).toEqual([{ where, seq: 7, why: expect.stringMatching(/./) }]);
    expect(told).toEqual([]);
  });

  test('what is set aside for several reasons is set aside once a place', async () => {
    const { needs, parked, told } = world();
    const names = ['dev-request', 'ops-join', 'dev-bounces', 'dev'];
    await dispose(mailTo(names.map((name) => `${name}@lists.example`)), needs);
    expect(parked.map(({ where }) => where)).toEqual(['command', 'bounce']);
    expect(parked[0]?.why).toMatch(/request.*join/);
    expect(told).toHaveLength(1);
  });
});

describe('loops', () => {
  const looped = `List-Id: <dev.lists.example>\r\n${PLAIN}`;

  test('a post that has been here before makes no command, and is counted', async () => {
    const { needs, told, parked, counted } = world();
    expect(await dispose(mailTo(['dev@lists.example'], looped), needs)).toEqual(DONE);
    expect(told).toEqual([]);
    expect(parked).toEqual([]);
    expect(counted).toContain('incoming_loops');
  });

  test('it is logged once a minute for each list, with its trace', async () => {
    const { needs, logged, time } = world();
    for (let i = 0; i < 5; i++) await dispose(mailTo(['dev@lists.example'], looped), needs);
    expect(logged).toMatchObject([{ list: 'dev@lists.example', trace: 't1', loop: 'own-list-id' }]);
    time.now += LOOP_LOG_EVERY_MS;
    await dispose(mailTo(['dev@lists.example'], looped), needs);
    expect(logged).toHaveLength(2);
  });

  test('it goes on to the lists that it has not been to', async () => {
    const { needs, told } = world();
    await dispose(mailTo(['dev@lists.example', 'ops@lists.example'], looped), needs);
    expect(told.map(({ key }) => key)).toEqual([OPS.key]);
  });

  test('the owners do get a post of the list that a member sends them', async () => {
    const { needs, told } = world();
    await dispose(mailTo(['dev-owner@lists.example'], looped), needs);
    expect(told).toHaveLength(1);
    const again = `X-Loop: dev-owner@lists.example\r\n${PLAIN}`;
    await dispose(mailTo(['dev-owner@lists.example'], again), needs);
    expect(told).toHaveLength(1);
  });
});

test('I1: every recipient ends as a command, in the park, or, only for a loop, in the log', async () => {
  const names = ['dev', 'ops', 'late', 'nobody', 'dev-owner', 'dev-request', 'ops-bounces'];
  const places = new Map([
    ['dev', 'post'],
    ['ops', 'post'],
    ['late', 'post'],
    ['dev-owner', 'owner-mail'],
    ['nobody', 'unknown'],
    ['dev-request', 'command'],
    ['ops-bounces', 'bounce'],
  ]);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...names), { minLength: 1 }),
      fc.oneof(fc.constant(PLAIN), fc.string({ unit: 'binary' })),
      async (locals, raw) => {
        const { needs, told, parked } = world();
        const recipients = locals.map((local) => `${local}@lists.example`);
        expect(await dispose(mailTo(recipients, raw), needs)).toEqual(DONE);
        const posts = new Set(locals.filter((local) => places.get(local) === 'post'));
        expect(told.filter(({ asked }) => asked.command.type === 'post')).toHaveLength(posts.size);
        const ended = new Set<string>([
          ...told.map(({ asked }) => asked.command.type),
          ...parked.map(({ where }) => where),
        ]);
        expect(ended).toEqual(new Set(locals.map((local) => places.get(local))));
      },
    ),
  );
});

test('the log says of a post that nothing vouches for its author', async () => {
  const { needs, logged } = world();
  await dispose(mailTo(['dev@lists.example']), needs);
  expect(logged).toMatchObject([{ trace: 't1', authentication: 'none' }]);
});

test('no body, subject or address of an author is ever logged', async () => {
  const { needs, logged } = world();
  await dispose(mailTo(['dev@lists.example', 'dev-owner@lists.example', machine('u', 1)]), needs);
  expect(logged).toHaveLength(3);
  expect(JSON.stringify(logged)).not.toMatch(/Hello|body|jane/);
});

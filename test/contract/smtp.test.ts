import { createSmtp } from '../../src/smtp/send.ts';
import { createFakeSmtp } from '../support/fake/smtp.ts';
import { type Answer, type Step, startSink } from '../support/sink.ts';
import { type SmtpUnderTest, smtpContract } from './smtp.ts';

smtpContract('the client against a sink', async (): Promise<SmtpUnderTest> => {
  const answers = new Map<string, string>();
  let lastRecipient = '';
  const rule = (step: Step): Answer => {
    if (step.command === 'rcpt') lastRecipient = /<(.*?)>/.exec(step.argument)?.[1] ?? '';
    const answer = answers.get(lastRecipient);
    if (step.command === 'rcpt' && answer === '451') return '451 4.3.0 busy';
    if (step.command === 'rcpt' && answer === '550') return '550 5.1.1 no such user';
    if (step.command === 'rcpt' && answer === 'lost before') return 'drop';
    if (step.command === 'dot' && answer === 'lost after') return 'accept-and-drop';
    return null;
  };
  const sink = await startSink({ rule });
  return {
    smtp: createSmtp({ url: sink.url, name: 'client.example', tls: 'off' }),
    taken: () => sink.recipients(),
    answer: (recipient, answer) => void answers.set(recipient, answer),
    goDown: () => sink.close(),
    close: () => sink.close(),
  };
});

smtpContract('the fake', async (): Promise<SmtpUnderTest> => {
  const fake = createFakeSmtp();
  const answers = new Map<string, string>();
  fake.rule = (recipient) => {
    const answer = answers.get(recipient);
    if (answer === 'lost before' || answer === 'lost after') return answer;
    return answer === undefined ? null : { code: Number(answer), status: '', reply: '' };
  };
  return {
    smtp: fake,
    taken: () => fake.mails.flatMap((mail) => mail.recipients),
    answer: (recipient, answer) => void answers.set(recipient, answer),
    async goDown() {
      fake.isDown = true;
    },
    async close() {},
  };
});

/**
 * What `smtp-server` calls for MAIL, RCPT and DATA, in its terms: callbacks, and errors with a
 * `responseCode`.
 */
import type {
  SMTPServerAddress,
  SMTPServerDataResult,
  SMTPServerDataStream,
  SMTPServerSession,
} from 'smtp-server';
import { assert } from '../assert.ts';
import { MailError } from '../errors.ts';
import type { EdgeConnection } from './edge-connection.ts';
import { receive } from './edge-data.ts';
import {
  addRecipient,
  begin,
  type Door,
  type EdgeTransaction,
  failureOf,
  rejection,
} from './edge-transaction.ts';

export type Handlers = {
  onMailFrom(given: SMTPServerAddress, session: SMTPServerSession, done: Done): void;
  onRcptTo(given: SMTPServerAddress, session: SMTPServerSession, done: Done): void;
  onData(stream: SMTPServerDataStream, session: SMTPServerSession, done: DataDone): void;
};

type Done = (error?: Error | null) => void;
type DataDone = (error: Error | null, replies?: string | SMTPServerDataResult[]) => void;
type Found = (session: SMTPServerSession) => EdgeConnection | undefined;
type Traffic = { readonly stopping: AbortController; inFlight: number; onLess: () => void };

/** A throw in here is a bug; the library answers it 451. */
export function handlersOf(door: Door, traffic: Traffic, find: Found): Handlers {
  const transactions = new WeakMap<EdgeConnection, EdgeTransaction>();
  const connectionOf = (session: SMTPServerSession): EdgeConnection => {
    const connection = find(session);
    assert(connection !== undefined, 'a session without its connection');
    return connection;
  };
  const transactionOf = (connection: EdgeConnection): EdgeTransaction => {
    const transaction = transactions.get(connection);
    assert(transaction !== undefined, 'RCPT or DATA without MAIL');
    return transaction;
  };
  return {
    onMailFrom(given, session, done) {
      const connection = connectionOf(session);
      const begun = begin(given, door);
      if (begun instanceof MailError) return refuse(begun, 'sender', connection, door, done);
      transactions.set(connection, begun);
      done();
    },
    onRcptTo(given, session, done) {
      const connection = connectionOf(session);
      const added = addRecipient(given, transactionOf(connection), connection, door);
      const settle = (error: MailError | null): void =>
        error === null ? done() : refuse(error, given.address, connection, door, done);
      if (added instanceof Promise) void added.then(settle);
      else settle(added);
    },
    onData(stream, session, done) {
      const connection = connectionOf(session);
      const transaction = transactionOf(connection);
      traffic.inFlight++;
      receive(stream, { transaction, connection, door })
        .then((replies) => replies !== null && answer(replies, door, done))
        .catch((error: unknown) => connection.hangUp(failureOf(error, door.needs.log)))
        .finally(() => {
          traffic.inFlight--;
          if (traffic.stopping.signal.aborted) connection.sayGoodbye();
          traffic.onLess();
        });
    },
  };
}

function refuse(
  error: MailError,
  what: string,
  connection: EdgeConnection,
  { needs, protocol }: Door,
  done: Done,
): void {
  const { code, status, message } = error;
  needs.meter.count('edge_refused', { protocol, code: String(code) });
  needs.log.debug(
    { peer: connection.peer, refused: what, code, status, reply: message },
    'refused',
  );
  done(rejection(error));
}

/** SMTP has one reply, and all are the same. */
function answer(
  replies: readonly SMTPServerDataResult[],
  { protocol }: Door,
  done: DataDone,
): void {
  const [first] = replies;
  assert(first !== undefined, 'DATA without a recipient');
  if (protocol === 'lmtp') done(null, [...replies]);
  else if (typeof first === 'string') done(null, first);
  else done(first);
}

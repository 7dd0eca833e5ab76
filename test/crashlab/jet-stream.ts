/** JetStream's own interface, asked plainly. */
import type { NatsConnection } from 'nats';

export const REQUEST_MS_MAX = 5_000;

type Api = Readonly<Record<string, unknown>> & {
  readonly error?: { readonly description: string };
};

/** The answer; throws what the server says is wrong. */
export async function jetStream(
  nc: NatsConnection,
  subject: string,
  body: unknown = {},
): Promise<Api> {
  const reply = await nc.request(`$JS.API.${subject}`, JSON.stringify(body), {
    timeout: REQUEST_MS_MAX,
  });
  const answer = reply.json<Api>();
  if (answer.error !== undefined) throw new Error(`${subject}: ${answer.error.description}`);
  return answer;
}

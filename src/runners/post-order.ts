/** Whether a post may go on: somebody may pause or cancel it while it is being sent. */
import type { Chunk, PostOrder } from '../mail/chunk.ts';
import type { Clock, Results } from '../world.ts';

/** How old what is known of a post's order may be while it is sent, ms. */
const ORDER_MS_MAX = 2_000;

export type OrderNeeds = {
  readonly results: Pick<Results, 'orderOf'>;
  readonly clock: Pick<Clock, 'monotonic'>;
};

/** Only posts can be paused: notices and what is forwarded are gone before anybody could. */
export async function orderOf({ key, post, recipe }: Chunk, needs: OrderNeeds): Promise<PostOrder> {
  return recipe.kind === 'post' ? await needs.results.orderOf(key, post) : 'go';
}

/**
 * Why to stop, as far as is known now; null to go on. Asking has the order looked at again once what is known is old; what cannot
 * be read stays as it was.
 */
export function haltedBy(chunk: Chunk, needs: OrderNeeds): () => 'pause' | 'cancel' | null {
  const { clock } = needs;
  let order: PostOrder = 'go';
  let lookedAt = clock.monotonic();
  return () => {
    if (clock.monotonic() - lookedAt > ORDER_MS_MAX) {
      lookedAt = clock.monotonic();
      orderOf(chunk, needs).then(
        (read) => (order = read),
        () => undefined,
      );
    }
    return order === 'go' ? null : order;
  };
}

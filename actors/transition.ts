/**
 * xstate's pure `transition` for charts that are stepped all day long. That one makes an actor anew for each step, which costs more
 * than the step; ours is made once for each chart, is never started, and knows nothing of what it is asked.
 */
import {
  type AnyStateMachine,
  createActor,
  type EventFromLogic,
  type ExecutableActionsFrom,
  type SnapshotFrom,
} from 'xstate';

/** The next snapshot, and what the step causes, as data. */
export type Transition<M extends AnyStateMachine> = (
  snapshot: SnapshotFrom<M>,
  event: EventFromLogic<M>,
) => readonly [SnapshotFrom<M>, readonly ExecutableActionsFrom<M>[]];

export function transitionOf<M extends AnyStateMachine>(machine: M): Transition<M> {
  const self = createActor(machine);
  const nothing = (): void => undefined;
  const scope = {
    ...{ self, system: self.system, id: self.id, sessionId: self.sessionId },
    ...{ logger: nothing, defer: nothing, emit: nothing, stopChild: nothing },
  };
  return (snapshot, event) => {
    const actions: ExecutableActionsFrom<M>[] = [];
    const next = machine.transition(snapshot, event, {
      ...scope,
      actionExecutor: (action) => void actions.push(action as ExecutableActionsFrom<M>),
    });
    return [next as SnapshotFrom<M>, actions];
  };
}

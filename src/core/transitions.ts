/** A state machine as data: which events each state allows, and where they lead. */
export type Transitions<State extends string, Event extends string> = Readonly<
  Record<State, Readonly<Partial<Record<Event, State>>>>
>;

/**
 * The state after an event.
 *
 * @throws {Error} if the table does not allow the event, naming `subject`, the event and the state
 */
export function nextState<State extends string, Event extends string>(
  transitions: Partial<Transitions<State, Event>>,
  state: State,
  event: Event,
  subject: string,
): State {
  const next = transitions[state]?.[event];
  if (next === undefined) throw new Error(`${subject}: no ${event} in state ${state}`);
  return next;
}

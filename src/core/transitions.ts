/** The life of something, as data: from each state, what may happen and where it leads. */
export type Transitions<State extends string, Event extends string> = Readonly<
  Record<State, Readonly<Partial<Record<Event, State>>>>
>;

/**
 * The state behind an event. What the table does not allow is a fault of the machine, and is said at once.
 *
 * @throws {Error} that names `subject`, whose life it is, the event and the state
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

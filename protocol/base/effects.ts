/**
 * The shape of every core: events in, effects out. A step is synchronous, total and deterministic: no clock, socket,
 * disk or promise; time comes with the event. Effects are performed in order, and a `persist` that says `durable` is on
 * disk before the next effect begins. One queue feeds one core: steps never overlap.
 */

/** Milliseconds since the Unix epoch; the simulator turns its own. */
export type Milliseconds = number;

export interface Machine<Event, Effect> {
  step(event: Event): readonly Effect[];
}

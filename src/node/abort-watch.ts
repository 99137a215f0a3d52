/**
 * Listening to an `AbortSignal` for many at once: Node warns of a leak from the eleventh listener of one signal on, and a
 * program that bounds all its requests by one signal has done nothing wrong.
 */

/** Hears that a signal has been aborted. */
export interface Abortable {
  aborted(): void;
}

class AbortWatch {
  readonly abortables = new Set<Abortable>();

  handleEvent(): void {
    for (const abortable of [...this.abortables]) abortable.aborted();
  }
}

const watches = new WeakMap<AbortSignal, AbortWatch>();

/** From now on `abortable` hears of the abort of this signal, which has not been aborted yet. */
export function watchAbort(signal: AbortSignal, abortable: Abortable): void {
  let watch = watches.get(signal);
  if (watch === undefined) {
    watch = new AbortWatch();
    watches.set(signal, watch);
  }
  if (watch.abortables.size === 0) signal.addEventListener("abort", watch, { once: true });
  watch.abortables.add(abortable);
}

/** It hears of it no more. */
export function unwatchAbort(signal: AbortSignal, abortable: Abortable): void {
  const watch = watches.get(signal);
  if (watch?.abortables.delete(abortable) === true && watch.abortables.size === 0) {
    signal.removeEventListener("abort", watch);
  }
}

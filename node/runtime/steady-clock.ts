/**
 * The wall clock without its leaps: never backwards. Set back, it goes on at half speed until the wall has come up, so
 * that timers still fire; set forward, it follows at once, and timers fire early, which does no harm.
 */
import type { Milliseconds } from "../../protocol/base/effects.ts";
import type { Cancel, Clock } from "./ports.ts";

/** Two raw clocks: what people call the time, and what never leaps. */
export interface RawClocks {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
}

const SYSTEM_CLOCKS: RawClocks = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** setTimeout takes no longer waits. */
const WAIT_MAX_MS = 2 ** 31 - 1;

export class SteadyClock implements Clock {
  private readonly raw: RawClocks;
  private time: Milliseconds;
  private readAt: number;

  constructor(raw: RawClocks = SYSTEM_CLOCKS) {
    this.raw = raw;
    this.time = raw.wallMs();
    this.readAt = raw.monotonicMs();
  }

  /** Whole milliseconds. */
  now(): Milliseconds {
    const readAt = this.raw.monotonicMs();
    const elapsed = Math.max(0, readAt - this.readAt);
    this.readAt = readAt;
    this.time = Math.max(this.raw.wallMs(), this.time + elapsed / 2);
    return Math.floor(this.time);
  }

  schedule(at: Milliseconds, run: () => void): Cancel {
    const wait = (): NodeJS.Timeout =>
      setTimeout(
        () => {
          if (this.now() >= at) run();
          else timer = wait(); // woken early, or the wall was set back
        },
        Math.min(WAIT_MAX_MS, Math.max(1, at - this.now())),
      );
    let timer = wait();
    return () => {
      clearTimeout(timer);
    };
  }
}

/** So many a second for ever, and so many at once after a pause. */
import type { Milliseconds } from "../../protocol/base/effects.ts";

export class TokenBucket {
  private readonly perSecond: number;
  private readonly burst: number;
  private tokens: number;
  private filledAt: Milliseconds;

  constructor(options: { readonly perSecond: number; readonly burst: number }, now: Milliseconds) {
    this.perSecond = options.perSecond;
    this.burst = options.burst;
    this.tokens = options.burst;
    this.filledAt = now;
  }

  /** @returns 0 if one was taken, else how long until there is one */
  take(now: Milliseconds): Milliseconds {
    this.tokens = Math.min(
      this.burst,
      this.tokens + ((now - this.filledAt) / 1000) * this.perSecond,
    );
    this.filledAt = now;
    if (this.tokens >= 1) {
      this.tokens--;
      return 0;
    }
    return Math.ceil(((1 - this.tokens) / this.perSecond) * 1000);
  }
}

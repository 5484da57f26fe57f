/**
 * Time for pacing, and one timer of each name. The clock on the wall may be set back; what paces a validator must not
 * stand still for the hour. So the core counts in a steady time that only runs forward: the wall's, plus all that it
 * was ever set back. An effect comes only when a timer changes.
 */
import type { Milliseconds } from "../base/effects.ts";
import type { ConsensusTimer } from "./events.ts";
import type { Outbox } from "./outbox.ts";

export class Timers {
  private readonly setFor = new Map<ConsensusTimer, Milliseconds>();
  private lastWall: Milliseconds = -Infinity;
  private setBack: Milliseconds = 0;

  /** What the clock on the wall says. */
  get wall(): Milliseconds {
    return this.lastWall;
  }

  /** @param wall the clock's time  @returns the steady time */
  turnTo(wall: Milliseconds): Milliseconds {
    if (wall < this.lastWall) this.setBack += this.lastWall - wall;
    this.lastWall = wall;
    return wall + this.setBack;
  }

  /** It fired, or was said to: it is no longer set. */
  fired(timer: ConsensusTimer): void {
    this.setFor.delete(timer);
  }

  /** Let it fire at the steady time `at`, whatever was set before. */
  set(timer: ConsensusTimer, at: Milliseconds, out: Outbox): void {
    if (this.setFor.get(timer) === at) return;
    this.setFor.set(timer, at);
    out.add({ kind: "setTimer", timer, at: at - this.setBack });
  }

  /** Let it fire at `at` or before: one that is set for earlier is left. Infinity asks for nothing. */
  setBy(timer: ConsensusTimer, at: Milliseconds, out: Outbox): void {
    if (at === Infinity || (this.setFor.get(timer) ?? Infinity) <= at) return;
    this.set(timer, at, out);
  }
}

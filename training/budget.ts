/**
 * How much of a run is done, and what is due. A run lasts `steps` updates or `seconds` of wall time of the loop,
 * validation and checkpoints included; with both, until the first of them ends.
 */
import type { TrainConfig } from "./config.ts";

/** Kept back for the last checkpoint before one was written and timed. */
const SAVE_GUESS_S = 0.3;

export class Budget {
  private readonly config: TrainConfig;
  private readonly nowMs: () => number;
  /** Seconds that earlier sessions of this run took. */
  private readonly earlierS: number;
  private startedMs: number;
  private stepStartedS = 0;
  /** The longest step of late: the next one may take as long. */
  private stepS = 0;
  private validationS = 0;
  private saveS = SAVE_GUESS_S;
  private validatedS: number;
  private savedS: number;

  /** @param nowMs a clock that never goes back; given by tests */
  constructor(
    config: TrainConfig,
    earlierS: number,
    nowMs: () => number = () => performance.now(),
  ) {
    this.config = config;
    this.earlierS = earlierS;
    this.nowMs = nowMs;
    this.startedMs = nowMs();
    this.validatedS = earlierS;
    this.savedS = earlierS;
  }

  /** The clock starts here, once set-up is over. */
  start(): void {
    this.startedMs = this.nowMs();
    this.stepStartedS = this.earlierS;
  }

  /** Seconds of this session. */
  get sessionS(): number {
    return (this.nowMs() - this.startedMs) / 1000;
  }

  /** Seconds of the loop, earlier sessions included. */
  get elapsedS(): number {
    return this.earlierS + this.sessionS;
  }

  /**
   * 0 … 1: where the schedule stands in the middle of the step to come, so that neither the first step nor the last
   * one is made with a learning rate of zero. 1 is the end of the loop, before the last validation and checkpoint.
   * @param step updates done
   */
  progress(step: number): number {
    const { steps, seconds } = this.config;
    const bySteps = steps === undefined ? 0 : (step + 0.5) / steps;
    const bySeconds =
      seconds === undefined ? 0 : (this.elapsedS + this.stepS / 2) / this.loopEndsS(seconds);
    return Math.min(1, Math.max(bySteps, bySeconds));
  }

  /** Whether another step would go over: what must follow the loop still fits into the seconds. Asked once a step. */
  isSpent(step: number): boolean {
    const { steps, seconds } = this.config;
    const nowS = this.elapsedS;
    // A slow step is remembered for a while; the first one, which warms up, is soon forgotten.
    this.stepS = Math.max(nowS - this.stepStartedS, 0.9 * this.stepS);
    this.stepStartedS = nowS;
    if (steps !== undefined && step >= steps) return true;
    return seconds !== undefined && nowS + this.stepS > this.loopEndsS(seconds);
  }

  validationIsDue(step: number): boolean {
    const { everySeconds, everySteps } = this.config.validation;
    if (everySteps > 0 && step % everySteps === 0) return true;
    if (everySeconds === 0 || this.elapsedS - this.validatedS < everySeconds) return false;
    // Not just before the last one, which comes anyway.
    const { seconds } = this.config;
    return seconds === undefined || this.loopEndsS(seconds) - this.elapsedS > everySeconds / 2;
  }

  checkpointIsDue(): boolean {
    const { checkpointEverySeconds } = this.config;
    return checkpointEverySeconds > 0 && this.elapsedS - this.savedS >= checkpointEverySeconds;
  }

  /** A validation takes this long: the last one is planned for. */
  planValidation(seconds: number): void {
    this.validationS = Math.max(this.validationS, seconds);
  }

  /** Do a validation that is due, and learn how long one takes. */
  async timeValidation(work: () => Promise<void>): Promise<void> {
    this.planValidation(await this.time(work));
    this.validatedS = this.elapsedS;
  }

  /** Do a checkpoint that is due, and learn how long one takes. */
  async timeSave(work: () => Promise<void>): Promise<void> {
    this.saveS = Math.max(this.saveS, await this.time(work));
    this.savedS = this.elapsedS;
  }

  /** Seconds of some work between two steps, which is not a part of either. */
  private async time(work: () => Promise<void>): Promise<number> {
    const beforeS = this.elapsedS;
    await work();
    const tookS = this.elapsedS - beforeS;
    this.stepStartedS += tookS;
    return tookS;
  }

  /** For the progress bar. */
  shown(step: number): { readonly done: number; readonly total: number } {
    const { steps, seconds } = this.config;
    const byTime = seconds === undefined ? undefined : { done: this.elapsedS, total: seconds };
    if (steps === undefined) return byTime ?? { done: 0, total: 1 };
    const bySteps = { done: step, total: steps };
    return byTime !== undefined && byTime.done / byTime.total > step / steps ? byTime : bySteps;
  }

  private loopEndsS(seconds: number): number {
    // Never less than half, whatever a validation takes: the run is for training.
    return Math.max(seconds / 2, seconds - this.validationS - 2 * this.saveS);
  }
}

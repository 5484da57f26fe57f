/** How much of the training's time goes by waiting for data: what a faster input could save. */

export class InputWait {
  private readonly nowMs: () => number;
  private startedMs = 0;
  private arrivedMs = 0;
  private all = { waitMs: 0, stepMs: 0 };
  private recent = { waitMs: 0, stepMs: 0 };

  /** @param nowMs a clock that never goes back; given by tests */
  constructor(nowMs: () => number = () => performance.now()) {
    this.nowMs = nowMs;
  }

  /** A step begins: it waits for its input. */
  begin(): void {
    this.startedMs = this.nowMs();
  }

  /** The input is there. */
  arrived(): void {
    this.arrivedMs = this.nowMs();
  }

  /** The step is over. What comes between steps (validation, checkpoints) counts for neither. */
  end(): void {
    const waitMs = this.arrivedMs - this.startedMs;
    const stepMs = this.nowMs() - this.startedMs;
    for (const sum of [this.all, this.recent]) {
      sum.waitMs += waitMs;
      sum.stepMs += stepMs;
    }
  }

  /** 0 … 1, over all steps. */
  get share(): number {
    return shareOf(this.all);
  }

  /** 0 … 1, over the steps since this was last asked. */
  recentShare(): number {
    const share = shareOf(this.recent);
    this.recent = { waitMs: 0, stepMs: 0 };
    return share;
  }
}

/** A share for people: "3 %". */
export function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

function shareOf({ waitMs, stepMs }: { readonly waitMs: number; readonly stepMs: number }): number {
  return stepMs > 0 ? waitMs / stepMs : 0;
}

/**
 * Successive halving: all trials run for the least budget, one in `factor` of them goes on to `factor` times as much,
 * until the greatest. Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
 * optimization", 2016. A trial that goes on is trained anew: the learning rate's schedule has the length of the run, so
 * that a short run gone on with is not what a long one is. That costs at most 1/(factor − 1) more.
 */

export interface Rung {
  /** Steps or seconds of each run. */
  readonly budget: number;
  /** Trials that run in it, if none fails. */
  readonly trialCount: number;
}

export interface HalvingOptions {
  readonly trialCount: number;
  readonly min: number;
  readonly max: number;
  readonly factor: number;
  readonly unit: "steps" | "seconds";
}

/** Budgets grow from `min` to `max`, which the last rung has exactly; trials shrink, but never to none. */
export function rungsOf({ trialCount, min, max, factor, unit }: HalvingOptions): readonly Rung[] {
  const rungs: Rung[] = [];
  let [budget, count] = [min, trialCount];
  while (budget < max * 0.999) {
    rungs.push({ budget: unit === "steps" ? Math.round(budget) : budget, trialCount: count });
    budget *= factor;
    count = keptCount(count, factor);
  }
  rungs.push({ budget: max, trialCount: count });
  return rungs;
}

/** How many of so many trials go on. */
export function keptCount(trialCount: number, factor: number): number {
  return Math.max(1, Math.ceil(trialCount / factor));
}

export interface Ranked {
  readonly trial: number;
  /** Undefined: it failed, and does not go on. */
  readonly value: number | undefined;
}

/** The trials that go on, best first; of equals the earlier. */
export function bestTrials(
  results: readonly Ranked[],
  { count, lowerIsBetter }: { readonly count: number; readonly lowerIsBetter: boolean },
): readonly number[] {
  const sign = lowerIsBetter ? 1 : -1;
  return results
    .flatMap(({ trial, value }) => (value === undefined ? [] : [{ trial, value }]))
    .sort((a, b) => sign * (a.value - b.value) || a.trial - b.trial)
    .slice(0, count)
    .map(({ trial }) => trial);
}

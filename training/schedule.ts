/**
 * How large a step is, as a pure function of how much of the training is done: linear warm-up, then half a
 * cosine down to a floor. Progress may be counted in steps or in seconds; the shape is the same.
 */

export interface Schedule {
  /** The peak. */
  readonly learningRate: number;
  /** Share of the training spent on warming up, 0 … 1. */
  readonly warmupFraction: number;
  /** What is left of the peak at the end, as a share of it: 0 = cosine to zero. */
  readonly learningRateFloor: number;
}

/** The learning rate at `progress`. @param progress 0 (start) … 1 (end); values outside are clamped */
export function learningRateAt(progress: number, schedule: Schedule): number {
  const { learningRate, warmupFraction, learningRateFloor: floor } = schedule;
  const t = Math.min(1, Math.max(0, progress));
  if (t < warmupFraction) return learningRate * (t / warmupFraction);
  const span = 1 - warmupFraction;
  const decayed = span > 0 ? (t - warmupFraction) / span : 1;
  return learningRate * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * decayed)));
}

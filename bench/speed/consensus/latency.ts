/** How long transactions took, counted by the millisecond: exact for the mean, to a millisecond for the percentiles. */
import type { LatencyCounts } from "./settings.ts";

/** Longer ones count as this. */
const MS_MAX = 60_000;

export interface LatencySummary {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly mean: number;
}

export class LatencyHistogram {
  private readonly counts = new Float64Array(MS_MAX + 1);
  private sumMs = 0;

  /** @param ms ≥ 0 */
  add(ms: number, count: number): void {
    const bucket = Math.min(MS_MAX, Math.max(0, Math.ceil(ms)));
    this.counts[bucket] = (this.counts[bucket] ?? 0) + count;
    this.sumMs += ms * count;
  }

  merge({ counts, sumMs }: LatencyCounts): void {
    for (const [ms, count] of counts) this.counts[ms] = (this.counts[ms] ?? 0) + count;
    this.sumMs += sumMs;
  }

  clear(): void {
    this.counts.fill(0);
    this.sumMs = 0;
  }

  toCounts(): LatencyCounts {
    const counts: (readonly [number, number])[] = [];
    this.counts.forEach((count, ms) => {
      if (count > 0) counts.push([ms, count]);
    });
    return { counts, sumMs: this.sumMs };
  }

  /** NaN if nothing was counted. */
  summary(): LatencySummary {
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    return {
      p50: this.percentile(0.5, total),
      p90: this.percentile(0.9, total),
      p99: this.percentile(0.99, total),
      mean: this.sumMs / total,
    };
  }

  /** The least whole number of milliseconds within which the share was done. */
  private percentile(share: number, total: number): number {
    if (total === 0) return Number.NaN;
    let sum = 0;
    return this.counts.findIndex((count) => (sum += count) >= share * total);
  }
}

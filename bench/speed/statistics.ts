/** What the speed benches make of their times: medians, ratios of paired runs, the exponent of a growth. */
import { assert, present } from "../../base/errors.ts";

/** The middle value; the mean of the two middle ones if their number is even. @param values not empty */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const half = Math.floor(sorted.length / 2);
  const upper = present(sorted[half], "a median of something");
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? upper)) / 2;
}

/** A ratio taken pair by pair, so that a machine that becomes slower meanwhile slows down both sides of it. */
export interface Ratio {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** top[i] / bottom[i], summed up. @param top, bottom  of one length, not empty */
export function ratioOf(top: readonly number[], bottom: readonly number[]): Ratio {
  assert(top.length === bottom.length, "a ratio is taken pair by pair");
  const ratios = top.map((value, i) => value / (bottom[i] ?? Number.NaN));
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}

/** For people: "1.08 × (1.02 to 1.15)". */
export function spread({ median: middle, min, max }: Ratio): string {
  return `${middle.toFixed(2)} × (${min.toFixed(2)} to ${max.toFixed(2)})`;
}

/** y ≈ factor · x^exponent. */
export interface PowerLaw {
  readonly exponent: number;
  readonly factor: number;
  /** Share of the variance of log y that the law explains, 0 … 1. */
  readonly r2: number;
}

/** The straight line of least squares through (log x, log y). @param points  at least two different x, all above 0 */
export function fitPowerLaw(points: readonly (readonly [x: number, y: number])[]): PowerLaw {
  const logs = points.map(([x, y]): [number, number] => [Math.log(x), Math.log(y)]);
  const mean = (pick: (point: readonly [number, number]) => number): number =>
    logs.reduce((sum, point) => sum + pick(point), 0) / logs.length;
  const [meanX, meanY] = [mean(([x]) => x), mean(([, y]) => y)];
  const varianceX = mean(([x]) => (x - meanX) ** 2);
  assert(varianceX > 0, "a law needs two different sizes");
  const covariance = mean(([x, y]) => (x - meanX) * (y - meanY));
  const exponent = covariance / varianceX;
  const varianceY = mean(([, y]) => (y - meanY) ** 2);
  return {
    exponent,
    factor: Math.exp(meanY - exponent * meanX),
    r2: varianceY === 0 ? 1 : covariance ** 2 / (varianceX * varianceY),
  };
}

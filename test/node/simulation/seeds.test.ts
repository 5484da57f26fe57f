/** Fifty seeds with all faults, as a run in CI: nothing breaks, and every network lives again in time. */
import { describe, expect, test } from "vitest";
import { parseFaults } from "../../../node/simulation/faults.ts";
import { simulate } from "../../../node/simulation/simulate.ts";
import { sumUp } from "../../../node/simulation/summary.ts";

const faults = parseFaults("all");

describe.each([
  [4, 1, 40],
  [7, 41, 47],
  [10, 48, 50],
])("%i validators with all faults, seeds %i to %i,", (validators, first, last) => {
  const seeds = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const summary = sumUp(seeds.map((seed) => simulate({ seed, validators, rounds: 60, faults })));

  test("break no rule", () => {
    expect(summary.failedSeeds).toEqual([]);
    expect(summary.violations).toBe(0);
    expect(summary.runs).toBe(seeds.length);
  });

  test("live again within the limits: 10 s to the first commit, 20 s until all are back", () => {
    expect(summary.firstCommitMs?.max).toBeLessThan(10_000);
    expect(summary.healedMs?.max).toBeLessThan(20_000);
  });

  test("were not idle", () => {
    expect(summary.commits).toBeGreaterThan(50 * summary.runs);
    const happened = Object.values(summary.injected).filter((times) => times > 0);
    expect(happened.length).toBeGreaterThan(10);
  });
});

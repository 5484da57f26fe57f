/** A check that finds nothing may look at nothing: each bug that is planted must be found, by what it is. */
import { describe, expect, test } from "vitest";
import { parseFaults } from "../../../node/simulation/faults.ts";
import { simulate, type SimulationResult } from "../../../node/simulation/simulate.ts";
import { PLANTED_BUGS, type PlantedBug } from "./planted-bugs.ts";

/** Seeds tried for a bug, at most. */
const SEEDS_MAX = 60;
const ROUNDS = 60;

function run(seed: number, bug: PlantedBug, isPlanted: boolean): SimulationResult {
  const takeOut = isPlanted ? bug.plant?.() : undefined;
  const { validators, makeCore, parameters, plan } = bug;
  try {
    return simulate({
      seed,
      validators,
      rounds: ROUNDS,
      faults: parseFaults(bug.faults),
      ...(parameters === undefined ? {} : { parameters }),
      ...(plan === undefined ? {} : { plan }),
      ...(makeCore === undefined || !isPlanted ? {} : { makeCore }),
    });
  } finally {
    takeOut?.();
  }
}

function kindsOf({ violations }: SimulationResult): readonly string[] {
  return [...new Set(violations.map(({ kind }) => kind))];
}

describe("the simulator finds that", () => {
  test.each(PLANTED_BUGS.map((bug) => [bug.name, bug] as const))("%s", (_name, bug) => {
    for (let seed = 1; seed <= SEEDS_MAX; seed++) {
      const found = kindsOf(run(seed, bug, true));
      if (!bug.foundBy.some((kind) => found.includes(kind))) continue;
      expect(kindsOf(run(seed, bug, false)), `seed ${seed} without the bug`).toEqual([]);
      return;
    }
    expect.fail(`no seed up to ${SEEDS_MAX} finds it`);
  });
});

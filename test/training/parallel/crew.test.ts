/** How the cores are divided before anything that computes is loaded. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { resolveConfig } from "../../../training/config.ts";
import { prepareForCrew } from "../../../training/parallel/crew.ts";
import { findRecipe } from "../../../training/recipes.ts";

const configOf = (workers: number, batchSize = 64) =>
  resolveConfig([
    { where: "test", values: { recipe: "tiny", ...findRecipe("tiny").config, workers, batchSize } },
  ]);

test("workers never have more threads than there are cores, unless each has one, and as many as fit", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 64 }),
      fc.integer({ min: 1, max: 256 }),
      (workers, cores) => {
        const environment: NodeJS.ProcessEnv = {};
        prepareForCrew(configOf(workers), environment, cores);
        const threads = Number(environment["TF_NUM_INTRAOP_THREADS"]);
        expect(environment["OMP_NUM_THREADS"]).toBe(String(threads));
        expect(threads).toBeGreaterThanOrEqual(1);
        expect(threads === 1 || threads * workers <= cores).toBe(true);
        expect((threads + 1) * workers).toBeGreaterThan(cores);
      },
    ),
  );
});

test("one worker has all cores, and what the environment says is left as it is", () => {
  const environment: NodeJS.ProcessEnv = {};
  prepareForCrew(configOf(1), environment, 8);
  expect(environment).toEqual({});
  const chosen = { TF_NUM_INTRAOP_THREADS: "3", OMP_NUM_THREADS: "2" };
  prepareForCrew(configOf(4), chosen, 8);
  expect(chosen).toEqual({ TF_NUM_INTRAOP_THREADS: "3", OMP_NUM_THREADS: "2" });
});

test("a batch has at least a group for each worker", () => {
  expect(() => {
    prepareForCrew(configOf(8, 7), {}, 8);
  }).toThrow("a batch of 7 groups cannot be shared by 8 workers");
});

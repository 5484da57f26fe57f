/** Without the native TensorFlow everything still trains: no recipe needs a kernel that wasm lacks. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RECIPES } from "../../../training/recipes.ts";
import { Programs } from "../../support/ops-programs.ts";
import type { RecipeSteps } from "../../support/ops-recipes.ts";

/**
 * The same first step on another backend: sums in another order, through a whole encoder, as a share of the loss. The
 * second step is taken after an update in which each weight moves by the learning rate whichever sign its gradient
 * has, so that a gradient that is nothing but rounding counts in full.
 */
const TOLERANCE = { first: 1e-5, second: 1e-2 };

const programs = new Programs();
let wasm: RecipeSteps;
let usual: RecipeSteps;
beforeAll(async () => {
  const recipes = { module: "test/support/ops-recipes.ts", call: "runRecipes" };
  wasm = await programs.run<RecipeSteps>(recipes, { SOMA_BACKEND: "wasm" });
  usual = await programs.run<RecipeSteps>(recipes, {});
});
afterAll(() => programs.remove());

test("wasm is in force in one process, and the usual backend in the other", () => {
  expect(wasm.backend).toBe("wasm");
  expect(usual.backend).toBe(process.env["SOMA_BACKEND"] === "wasm" ? "wasm" : usual.backend);
  expect(Object.keys(wasm.losses)).toHaveLength(2 * RECIPES.length);
});

describe.each(RECIPES.flatMap(({ name }) => [name, `${name}, sigmoid and differential`]))(
  "%s",
  (name) => {
    test("makes two steps on wasm, with the losses of the usual backend", () => {
      const [first = NaN, second = NaN, ...more] = wasm.losses[name] ?? [];
      const [usualFirst = NaN, usualSecond = NaN] = usual.losses[name] ?? [];
      expect(more).toEqual([]);
      expect(Math.abs(first - usualFirst) / usualFirst).toBeLessThan(TOLERANCE.first);
      expect(Math.abs(second - usualSecond) / usualSecond).toBeLessThan(TOLERANCE.second);
    });
  },
);

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawTrials, parseSweep, trialLayer } from "../../../training/sweep/space.ts";

const FILE = {
  recipe: "tiny",
  trials: 8,
  budget: { unit: "steps", min: 5, max: 20 },
  space: { learningRate: { log: [1e-4, 1e-2] } },
};

function parse(over: Readonly<Record<string, unknown>>): ReturnType<typeof parseSweep> {
  return parseSweep(structuredClone({ ...FILE, ...over }), "sweep.yaml");
}

describe("the trials of a sweep", () => {
  test("are the same for the same seed, all different, and the first ones do not depend on how many follow", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 30 }), (seed, trials) => {
        const drawn = drawTrials(parse({ seed, trials }));
        expect(drawTrials(parse({ seed, trials }))).toEqual(drawn);
        expect(drawTrials(parse({ seed, trials: trials + 5 })).slice(0, trials)).toEqual(drawn);
        expect(new Set(drawn.map((one) => JSON.stringify(one))).size).toBe(trials);
      }),
      { numRuns: 30 },
    );
  });

  test("lie inside what the space allows, each by its own rule", () => {
    const space = {
      learningRate: { log: [1e-4, 1e-2] },
      ema: { uniform: [0.2, 0.4] },
      "encoder.image.layers": { int: [0, 2] },
      batchSize: { choice: [8, 16] },
    };
    const trials = drawTrials(parse({ space, trials: 200 }));
    const of = (key: string): number[] => trials.map((trial) => Number(trial[key]));
    expect(Math.min(...of("learningRate"))).toBeGreaterThanOrEqual(1e-4);
    expect(Math.max(...of("learningRate"))).toBeLessThanOrEqual(1e-2);
    // Half of the draws lie below the geometric mean, where a uniform law has a tenth.
    const below = of("learningRate").filter((rate) => rate < 1e-3).length;
    expect(below).toBeGreaterThan(70);
    expect(below).toBeLessThan(130);
    expect(of("ema").every((value) => value >= 0.2 && value <= 0.4)).toBe(true);
    expect(new Set(of("encoder.image.layers"))).toEqual(new Set([0, 1, 2]));
    expect(new Set(of("batchSize"))).toEqual(new Set([8, 16]));
  });

  test("are fewer where the space has no more", () => {
    const space = { batchSize: { choice: [8, 16, 24] } };
    expect(drawTrials(parse({ space, trials: 9 }))).toHaveLength(3);
  });
});

describe("a bad sweep file", () => {
  test.each([
    ["a key of the file", { trails: 3 }, "UNKNOWN_KEY", 'did you mean "trials"?'],
    [
      "a rule of drawing",
      { space: { ema: { unifrom: [0, 1] } } },
      "UNKNOWN_KEY",
      'did you mean "uniform"?',
    ],
    ["a recipe", { recipe: "tinny" }, "RECIPE_UNKNOWN", "did you mean tiny?"],
    ["a budget upside down", { budget: { unit: "steps", min: 9, max: 3 } }, "BAD_CONFIG", ""],
    ["half a step", { budget: { unit: "steps", min: 0.5, max: 3 } }, "BAD_CONFIG", ""],
    ["a range upside down", { space: { ema: { uniform: [1, 0] } } }, "BAD_CONFIG", ""],
    [
      "two rules for one value",
      { space: { ema: { uniform: [0, 1], int: [0, 1] } } },
      "BAD_CONFIG",
      "",
    ],
    ["a logarithm of nothing", { space: { ema: { log: [0, 1] } } }, "BAD_CONFIG", ""],
    ["an empty space", { space: {} }, "BAD_SWEEP", ""],
    ["a length among the hyperparameters", { space: { steps: { int: [1, 2] } } }, "BAD_SWEEP", ""],
    ["a length in the config", { config: { seconds: 3 } }, "BAD_SWEEP", ""],
  ])("is refused by what is wrong: %s", (_what, over, code, next) => {
    expect(() => parse(over)).toThrow(expect.objectContaining({ code }) as Error);
    if (next === "") return;
    expect(() => parse(over)).toThrow(expect.objectContaining({ next }) as Error);
  });

  test("a hyperparameter that no config has names the nearest that it has", () => {
    expect(() => trialLayer({ recipe: "tiny", config: {} }, { learningRat: 1 })).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("space.learningRat") as string,
        next: 'did you mean "learningRate"?',
      }) as Error,
    );
    expect(() => trialLayer({ recipe: "tiny", config: {} }, { batchSize: 1 })).toThrow(
      expect.objectContaining({ code: "BAD_CONFIG" }) as Error,
    );
  });
});

test("a trial's hyperparameters lie over the sweep's config, text and lists as they are", () => {
  const config = { batchSize: 16, validation: { everySteps: 3 } };
  const layer = trialLayer(
    { recipe: "tiny", config },
    { batchSize: 8, dataset: "1e3", betas: [0.5, 0.6], "validation.groups": 9 },
  );
  expect(layer).toEqual({
    batchSize: 8,
    dataset: "1e3",
    betas: [0.5, 0.6],
    validation: { everySteps: 3, groups: 9 },
  });
});

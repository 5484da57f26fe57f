import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SomaError } from "../../base/errors.ts";
import { parseYaml, toYaml } from "../../base/yaml.ts";
import {
  environmentLayer,
  mergeLayer,
  readConfigFile,
  resolveConfig,
  settingLayer,
  type ConfigLayer,
  type NamedLayer,
} from "../../training/config.ts";
import { findRecipe, RECIPES } from "../../training/recipes.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "soma-config-"));
});
afterAll(() => rm(folder, { recursive: true }));

const tiny: NamedLayer = {
  where: "recipe tiny",
  values: { recipe: "tiny", ...findRecipe("tiny").config },
};
const layer = (values: ConfigLayer): NamedLayer => ({ where: "test.yaml", values });

function refusal(act: () => unknown): SomaError {
  try {
    act();
  } catch (error) {
    if (error instanceof SomaError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

test("every recipe resolves, and what is printed of it is the same experiment again", () => {
  for (const { name, config } of RECIPES) {
    const resolved = resolveConfig([{ where: name, values: { recipe: name, ...config } }]);
    const printed = parseYaml(toYaml(resolved), "printed") as ConfigLayer;
    expect(resolveConfig([layer(printed)])).toEqual(resolved);
  }
});

test("a stronger layer wins, key by key, and the layers below stay as they were", () => {
  const seed = fc.option(fc.nat(), { nil: undefined });
  fc.assert(
    fc.property(seed, seed, seed, (a, b, c) => {
      const layers = [a, b, c].map((value) => layer(value === undefined ? {} : { seed: value }));
      const before = structuredClone(layers);
      expect(resolveConfig([tiny, ...layers]).seed).toBe(c ?? b ?? a ?? 1);
      expect(layers).toEqual(before);
    }),
  );
});

test("inner objects are merged, lists are replaced", () => {
  const merged = mergeLayer(
    { validation: { everySteps: 5, groups: 9 }, betas: [1, 2] },
    { validation: { groups: 3 }, betas: [4] },
  );
  expect(merged).toEqual({ validation: { everySteps: 5, groups: 3 }, betas: [4] });
});

test("a layer that gives seconds takes back the steps of the layers below, and the other way round", () => {
  expect(resolveConfig([tiny, layer({ seconds: 9 })])).toMatchObject({ seconds: 9 });
  expect(resolveConfig([tiny, layer({ seconds: 9 })]).steps).toBeUndefined();
  expect(resolveConfig([tiny, layer({ seconds: 9 }), layer({ steps: 4 })]).seconds).toBeUndefined();
  expect(resolveConfig([tiny, layer({ seconds: 9, steps: 4 })])).toMatchObject({
    seconds: 9,
    steps: 4,
  });
});

test("an unknown key is refused with its layer and the nearest known key", () => {
  const cases: [ConfigLayer, string][] = [
    [{ learningrate: 1 }, "learningRate"],
    [{ batch_size: 1 }, "batchSize"],
    [{ validation: { everyStep: 1 } }, "everySteps"],
    [{ collapse: { spreadMinn: 1 } }, "spreadMin"],
  ];
  for (const [values, nearest] of cases) {
    const error = refusal(() => resolveConfig([tiny, layer(values)]));
    expect(error.code).toBe("UNKNOWN_KEY");
    expect(error.exitCode).toBe(2);
    expect(error.message).toContain("test.yaml");
    expect(error.next).toContain(`"${nearest}"`);
  }
});

test("an unknown key of the encoder is refused, too", () => {
  const error = refusal(() => resolveConfig([tiny, layer({ encoder: { dimensions: 3 } })]));
  expect(error.code).toBe("UNKNOWN_KEY");
  expect(error.next).toContain('"dimension"');
});

test("values of a wrong type or out of range are refused with their key", () => {
  const cases: [ConfigLayer, string][] = [
    [{ seed: "x" }, "seed"],
    [{ batchSize: 1 }, "batchSize"],
    [{ batchSize: 2.5 }, "batchSize"],
    [{ learningRate: -1 }, "learningRate"],
    [{ betas: [0.9] }, "betas"],
    [{ warmupFraction: 2 }, "warmupFraction"],
    [{ ema: 1 }, "ema"],
    [{ steps: 0 }, "steps"],
    [{ objectives: { contrastive: { weight: -1 } } }, "objectives.contrastive.weight"],
    [{ inputWorkers: "many" }, 'inputWorkers: must be "auto" or a whole number from 0 to 16'],
    [{ inputWorkers: 1.5 }, 'inputWorkers: must be "auto"'],
    [{ inputWorkers: 17 }, "inputWorkers"],
    [{ inputWorkers: -1 }, "inputWorkers"],
  ];
  for (const [values, key] of cases) {
    const error = refusal(() => resolveConfig([tiny, layer(values)]));
    expect(error.code).toBe("BAD_CONFIG");
    expect(error.message).toContain(key);
  }
});

test("a run without an end is refused", () => {
  const rest = Object.entries(tiny.values).filter(([key]) => key !== "steps");
  const endless = layer(Object.fromEntries(rest));
  expect(refusal(() => resolveConfig([endless])).code).toBe("NO_BUDGET");
});

test("--set reads numbers, lists and words, and keeps text where text stood", () => {
  const values = (assignment: string): ConfigLayer => settingLayer(assignment, tiny.values).values;
  expect(values("learningRate=1e-3")).toEqual({ learningRate: 1e-3 });
  expect(values("betas=[0.9, 0.99]")).toEqual({ betas: [0.9, 0.99] });
  expect(values("encoder.image.width=64")).toEqual({ encoder: { image: { width: 64 } } });
  expect(values("objectives.contrastive.crossed=true")).toEqual({
    objectives: { contrastive: { crossed: true } },
  });
  expect(values("dataset=2024")).toEqual({ dataset: "2024" });
  expect(values("dataset=a=b")).toEqual({ dataset: "a=b" });
});

test("--set without a key or a value is refused", () => {
  for (const bad of ["", "x", "=1", "a..b=1", ".a=1", "__proto__.x=1"]) {
    expect(refusal(() => settingLayer(bad, {})).code).toBe("BAD_SET");
  }
  expect(refusal(() => settingLayer("seed=[1", {})).code).toBe("BAD_YAML");
});

test("SOMA_ variables set the keys they name and no others", () => {
  const { values } = environmentLayer({
    SOMA_SEED: "7",
    SOMA_LEARNING_RATE: "2e-3",
    SOMA_DATASET: "emoji",
    SOMA_CACHE: "elsewhere",
    SOMA_STEPS: "",
    SEED: "9",
  });
  expect(values).toEqual({ seed: 7, learningRate: 2e-3, dataset: "emoji" });
});

test("a config file is YAML or JSON; others are refused with their name", async () => {
  const yaml = join(folder, "a.yaml");
  const json = join(folder, "a.json");
  await writeFile(yaml, "# mine\nseed: 3\nvalidation: { groups: 8 }\n");
  await writeFile(json, '{"seed": 4}');
  expect((await readConfigFile(yaml)).values).toEqual({ seed: 3, validation: { groups: 8 } });
  expect((await readConfigFile(json)).values).toEqual({ seed: 4 });

  const bad: [string, string, string][] = [
    ["tabs.yaml", "seed:\n\t- 1", "BAD_YAML"],
    ["half.json", '{"seed": ', "BAD_CONFIG"],
    ["list.yaml", "[1, 2]", "BAD_CONFIG"],
  ];
  for (const [name, text, code] of bad) {
    const path = join(folder, name);
    await writeFile(path, text);
    await expect(readConfigFile(path)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(name) as string,
    });
  }
  await expect(readConfigFile(join(folder, "none.yaml"))).rejects.toMatchObject({
    code: "CONFIG_NOT_FOUND",
    exitCode: 3,
  });
});

test("an unknown recipe is refused with the nearest one", () => {
  const error = refusal(() => findRecipe("emoji-images"));
  expect(error).toMatchObject({ code: "RECIPE_UNKNOWN", exitCode: 3 });
  expect(error.next).toContain("emoji-image");
});

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toYaml } from "../../base/yaml.ts";
import { resolveConfig } from "../../training/config.ts";
import { findRecipe } from "../../training/recipes.ts";
import type { MetricsLine } from "../../training/run-folder.ts";
import {
  configDifferences,
  flattenConfig,
  namedRun,
  summariseRun,
  validationFigures,
} from "../../training/run-summary.ts";

const validation = (step: number, named: Readonly<Record<string, number>>): MetricsLine => ({
  kind: "validation",
  step,
  seconds: step / 10,
  ...named,
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "soma-summary-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function writeRun(
  name: string,
  over: Readonly<Record<string, unknown>>,
  metrics: readonly MetricsLine[],
): Promise<string> {
  const path = join(folder, name);
  await mkdir(path, { recursive: true });
  const config = resolveConfig([
    { where: "tiny", values: { ...findRecipe("tiny").config, recipe: "tiny" } },
    { where: "test", values: over },
  ]);
  await writeFile(join(path, "config.yaml"), toYaml(config));
  const lines = metrics.map((line) => `${JSON.stringify(line)}\n`);
  await writeFile(join(path, "metrics.jsonl"), lines.join(""));
  return path;
}

describe("the figures of validations", () => {
  test("a figure's best is its greatest, a loss's its least, and its last is of the newest line", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1 }), (values) => {
        const lines = values.map((value, i) => validation(i, { mrr: value, maeLoss: value }));
        const { mrr, maeLoss } = validationFigures(lines);
        expect(mrr?.best).toBe(Math.max(...values));
        expect(maeLoss?.best).toBe(Math.min(...values));
        expect(mrr?.last).toBe(values.at(-1));
        expect(values[mrr?.bestStep ?? -1]).toBe(mrr?.best);
        expect(values[maeLoss?.bestStep ?? -1]).toBe(maeLoss?.best);
      }),
    );
  });

  test("steps and seconds are no figures, and lines of training have none", () => {
    const lines: MetricsLine[] = [{ kind: "train", step: 1, seconds: 1, loss: 3 }];
    expect(validationFigures([...lines, validation(2, { mrr: 5 })])).toEqual({
      mrr: { last: 5, best: 5, bestStep: 2 },
    });
  });
});

describe("differences of configs", () => {
  test("configs without a difference have none, whatever is in them", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue()), (config) => {
        expect(configDifferences([config, structuredClone(config)]).size).toBe(0);
      }),
    );
  });

  test("a key that one lacks, a list and a nested value each differ under their dotted names", () => {
    const a = { one: 1, list: [1, 2], deep: { same: 0, other: "x" } };
    const b = { list: [2, 1], deep: { same: 0, other: "y" } };
    expect(Object.fromEntries(configDifferences([a, b]))).toEqual({
      one: [1, undefined],
      list: [
        [1, 2],
        [2, 1],
      ],
      "deep.other": ["x", "y"],
    });
    expect([...flattenConfig(a).keys()]).toEqual(["one", "list", "deep.same", "deep.other"]);
  });
});

test("a run's summary tells what its recipe does not have, but not its seed", async () => {
  const path = await writeRun(
    "changed",
    { seed: 9, learningRate: 0.5, collapse: { examples: 8 } },
    [{ kind: "train", step: 5, seconds: 1, loss: 2.5 }, validation(5, { recall10: 40, mrr: 20 })],
  );
  expect(await summariseRun(path, "changed")).toMatchObject({
    recipe: "tiny",
    seed: 9,
    loss: 2.5,
    best: 40,
    steps: 5,
    differences: { learningRate: 0.5, "collapse.examples": 8 },
  });
  const plain = await writeRun("plain", {}, []);
  expect(await summariseRun(plain, "plain")).toMatchObject({
    differences: {},
    loss: null,
    best: null,
  });
});

test("a run is found by path, by name and as the last; one that is missing names the nearest", async () => {
  const path = await writeRun("calm-otter", {}, []);
  expect(await namedRun(path, "nowhere")).toBe(path);
  expect(await namedRun("calm-otter", folder)).toBe(path);
  await expect(namedRun("calm-oter", folder)).rejects.toMatchObject({
    code: "RUN_NOT_FOUND",
    exitCode: 3,
    next: "did you mean calm-otter?",
  });
  await expect(namedRun("x", join(folder, "empty"))).rejects.toMatchObject({
    code: "RUN_NOT_FOUND",
  });
});

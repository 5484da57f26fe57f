/** What an objective carries from step to step outlives the process: a teacher and a queue. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeSynthetic } from "../../../datasets/synthetic.ts";
import type { Dataset } from "../../../datasets/dataset.ts";
import { tf } from "../../../models/backend.ts";
import { resolveConfig, type TrainConfig } from "../../../training/config.ts";
import { openExperiment } from "../../../training/experiment.ts";
import { OBJECTIVES } from "../../../training/objectives/registry.ts";
import { findRecipe } from "../../../training/recipes.ts";
import { RunFolder } from "../../../training/run-folder.ts";
import { readState } from "../../../training/state.ts";
import { train } from "../../../training/trainer.ts";

let folder: string;
let dataset: Dataset;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "soma-state-"));
  dataset = await makeSynthetic();
});
afterAll(() => rm(folder, { recursive: true }));

function configOf(steps: number, values: Readonly<Record<string, unknown>> = {}): TrainConfig {
  const base = {
    recipe: "tiny",
    ...findRecipe("tiny").config,
    batchSize: 16,
    learningRateFloor: 1, // a rate that does not depend on how many steps are meant
    warmupFraction: 0,
    objectives: { moco: { weight: 1, queue: 40 }, lejepa: { weight: 0.1 } },
    validation: { everySeconds: 0, everySteps: 0, groups: 0 },
  };
  return resolveConfig([
    { where: "test", values: base },
    { where: "test", values: { ...values, steps } },
  ]);
}

async function run(name: string, config: TrainConfig, isResumed = false): Promise<string> {
  const path = join(folder, name);
  const experiment = await openExperiment(config, { objectives: OBJECTIVES, dataset });
  try {
    if (isResumed) {
      const resume = await readState(join(path, "checkpoints", "state"));
      await train(experiment, await RunFolder.reopen(path, resume.counters.step), { resume });
    } else {
      await train(experiment, await RunFolder.create(path, { config, environment: {} }));
    }
  } finally {
    experiment.dispose();
  }
  return join(path, "checkpoints");
}

test("a run with a teacher, a queue and drawn directions that is stopped and resumed is the same run, byte for byte", async () => {
  const straight = await run("straight", configOf(6));
  await run("stopped", configOf(3));
  const resumed = await run("stopped", configOf(6), true);
  for (const file of [
    ["state", "optimizer.safetensors"],
    ["last", "model.safetensors"],
  ]) {
    const [one, other] = await Promise.all(
      [straight, resumed].map((path) => readFile(join(path, ...file))),
    );
    expect(one?.equals(other ?? Buffer.alloc(0))).toBe(true);
  }
});

test("the state holds teacher and queue, the checkpoint neither; and no tensor is left", async () => {
  const before = tf.memory().numTensors;
  const path = await run("held", configOf(2, { accumulate: 2 }));
  expect(tf.memory().numTensors).toBe(before);
  const { kept } = await readState(join(path, "state"));
  expect(kept.get("moco/queue")?.length).toBe(40 * 32);
  expect([...kept.keys()].filter((name) => name.startsWith("moco/teacher.image."))).not.toEqual([]);
  const checkpoint = await readFile(join(path, "last", "model.safetensors"), "latin1");
  expect(checkpoint).not.toContain("teacher");
  expect(checkpoint).not.toContain("objective");
});

test("an objective that runs the encoder itself refuses to be spread over processes", async () => {
  await expect(
    openExperiment(configOf(2, { workers: 2 }), { objectives: OBJECTIVES, dataset }),
  ).rejects.toMatchObject({ code: "ONE_PROCESS_ONLY" });
});

test("a misspelt objective is answered with the nearest name", async () => {
  await expect(
    openExperiment(configOf(2, { objectives: { vicregg: { weight: 1 } } }), {
      objectives: OBJECTIVES,
      dataset,
    }),
  ).rejects.toMatchObject({ code: "OBJECTIVE_UNKNOWN", next: "did you mean vicreg?" });
});

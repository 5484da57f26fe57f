import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SomaError } from "../../base/errors.ts";
import { makeSynthetic } from "../../datasets/synthetic.ts";
import type { Dataset } from "../../datasets/dataset.ts";
import { tf } from "../../models/backend.ts";
import { loadCheckpoint } from "../../models/checkpoint.ts";
import { resolveConfig, type ConfigLayer, type TrainConfig } from "../../training/config.ts";
import { openExperiment, type Experiment } from "../../training/experiment.ts";
import type { Objective } from "../../training/objective.ts";
import { findRecipe } from "../../training/recipes.ts";
import { readMetrics, RunFolder } from "../../training/run-folder.ts";
import { readState } from "../../training/state.ts";
import { train, type TrainOptions, type TrainResult } from "../../training/trainer.ts";
import { beforeDrawing, toyContrastive } from "../support/toy-objective.ts";

let folder: string;
let dataset: Dataset;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "soma-train-"));
  dataset = await makeSynthetic();
});
afterAll(() => rm(folder, { recursive: true }));

function configOf(values: ConfigLayer = {}): TrainConfig {
  const base = {
    recipe: "tiny",
    ...findRecipe("tiny").config,
    steps: 6,
    batchSize: 16,
    objectives: { toy: { weight: 1 } },
    validation: { everySeconds: 0, everySteps: 3, groups: 16 },
    collapse: { everySteps: 4, examples: 16 },
    logEverySteps: 2,
  };
  return resolveConfig([
    { where: "test", values: base },
    { where: "test", values },
  ]);
}

/** Open an experiment, use it, free it: no tensor is left. */
async function withExperiment<T>(
  config: TrainConfig,
  use: (experiment: Experiment) => Promise<T>,
  toy: Objective = toyContrastive,
): Promise<T> {
  const experiment = await openExperiment(config, { objectives: { toy }, dataset });
  try {
    return await use(experiment);
  } finally {
    experiment.dispose();
  }
}

/** A whole run in a new folder. */
async function runIn(
  name: string,
  config: TrainConfig,
  options: TrainOptions = {},
  toy: Objective = toyContrastive,
): Promise<{ result: TrainResult; path: string }> {
  const path = join(folder, name);
  const result = await withExperiment(
    config,
    async (experiment) => {
      const run = await RunFolder.create(path, { config, environment: {} });
      return train(experiment, run, options);
    },
    toy,
  );
  return { result, path };
}

async function resume(path: string, config: TrainConfig): Promise<TrainResult> {
  const state = await readState(join(path, "checkpoints", "state"));
  return withExperiment(config, async (experiment) => {
    const run = await RunFolder.reopen(path, state.counters.step);
    return train(experiment, run, { resume: state });
  });
}

/** Aborts after the given number of updates. */
function stopAfter(steps: number, config: TrainConfig): { toy: Objective; signal: AbortSignal } {
  const controller = new AbortController();
  const reason = new SomaError({
    code: "INTERRUPTED",
    kind: "interrupted",
    what: "stopped by a test",
  });
  const toy = beforeDrawing((step) => {
    if (step === steps * config.accumulate - 1) controller.abort(reason);
  });
  return { toy, signal: controller.signal };
}

const fileOf = (path: string, ...rest: string[]): Promise<Buffer> =>
  readFile(join(path, "checkpoints", ...rest));

test("training lowers the loss, and its checkpoints load as the encoder it ends with", async () => {
  const config = configOf({ steps: 40, learningRate: 5e-3 });
  const { result, path } = await runIn("learns", config);
  const losses = (await readMetrics(path)).filter(({ kind }) => kind === "train");
  expect(result.steps).toBe(40);
  expect(result.loss).toBeLessThan(0.7 * Number(losses[0]?.["loss"]));
  for (const name of ["last", "best"]) {
    const { encoder, checkpoint } = await loadCheckpoint(join(path, "checkpoints", name));
    expect(checkpoint.config).toEqual(config.encoder);
    encoder.dispose();
  }
  const { checkpoint, encoder } = await loadCheckpoint(path); // a run folder is its result
  expect(checkpoint.directory).toBe(join(path, "checkpoints", "best"));
  encoder.dispose();
});

test("a run that is killed before its first checkpoint is resumed from its start, byte for byte", async () => {
  const config = configOf();
  const straight = await runIn("never killed", config);
  const progress = {
    update: ({ count }: { readonly count?: number }): void => {
      if (count === 2) throw new Error("killed");
    },
    finish: (): void => undefined,
  };
  await expect(runIn("killed", config, { progress })).rejects.toThrow("killed");
  const path = join(folder, "killed");
  expect((await resume(path, config)).steps).toBe(6);
  const file = ["last", "model.safetensors"];
  expect((await fileOf(path, ...file)).equals(await fileOf(straight.path, ...file))).toBe(true);
});

test("a run leaves no tensors behind", async () => {
  await runIn("tensors-1", configOf());
  const before = tf.memory().numTensors;
  await runIn("tensors-2", configOf({ ema: 0.9, accumulate: 2 }));
  expect(tf.memory().numTensors).toBe(before);
});

test.each([
  ["plainly", {}],
  ["with averaged weights", { ema: 0.99 }],
  ["with accumulated gradients", { accumulate: 2, clipNorm: 0.1 }],
])(
  "a run stopped after 3 of 6 steps and resumed is the run of 6 steps, byte for byte: %s",
  async (name, values) => {
    const config = configOf(values);
    const straight = await runIn(`straight ${name}`, config);
    const { toy, signal } = stopAfter(3, config);
    await expect(runIn(`resumed ${name}`, config, { signal }, toy)).rejects.toMatchObject({
      code: "INTERRUPTED",
      exitCode: 130,
    });
    const path = join(folder, `resumed ${name}`);
    expect((await readState(join(path, "checkpoints", "state"))).counters.step).toBe(3);
    const result = await resume(path, config);
    expect(result.steps).toBe(6);
    for (const file of [
      ["state", "optimizer.safetensors"],
      ["last", "model.safetensors"],
      ["best", "model.safetensors"],
    ]) {
      const same = (await fileOf(path, ...file)).equals(await fileOf(straight.path, ...file));
      expect(same, file.join("/")).toBe(true);
    }
    const steps = async (run: string): Promise<unknown> =>
      (await readMetrics(run)).map(({ kind, step, loss, recall10 }) => ({
        kind,
        step,
        loss,
        recall10,
      }));
    expect(await steps(path)).toEqual(await steps(straight.path));
  },
);

test("another seed is another run", async () => {
  const weights: Buffer[] = [];
  for (const seed of [1, 2]) {
    const { path } = await runIn(`seed-${seed}`, configOf({ seed, steps: 1 }));
    weights.push(await fileOf(path, "last", "model.safetensors"));
  }
  expect(weights[0]?.equals(weights[1] ?? Buffer.of())).toBe(false);
});

test("averaged weights are what is saved as the encoder, raw ones what is trained on", async () => {
  const { path } = await runIn("average", configOf({ ema: 0.99 }));
  const state = await readState(join(path, "checkpoints", "state"));
  const { encoder } = await loadCheckpoint(join(path, "checkpoints", "last"));
  for (const [name, variable] of encoder.parameters()) {
    const saved = await variable.data<"float32">();
    expect(saved).toEqual(state.average?.get(name));
    expect(saved).not.toEqual(state.adam.weights.get(name));
  }
  encoder.dispose();
});

test("overfitting two batches drives their loss to nearly nothing", async () => {
  const config = configOf({
    steps: 160,
    learningRate: 1e-2,
    weightDecay: 0,
    validation: { groups: 0 },
  });
  const { result } = await runIn("overfit", config, { overfitBatches: 2 });
  expect(result.loss).toBeLessThan(0.1);
});

test("a loss that is not a number stops the run at its step, names the part, and keeps the last checkpoint", async () => {
  let losses = 0;
  const broken: Objective = {
    ...toyContrastive,
    loss(context) {
      const lossOf = toyContrastive.loss(context);
      return (embeddings) => {
        const { total, parts } = lossOf(embeddings);
        const poison = tf.scalar(losses++ === 4 ? Number.NaN : 0);
        const extra = tf.mul(total, poison).asScalar();
        return { total: tf.add(total, extra), parts: { ...parts, extra } };
      };
    },
  };
  const config = configOf({ checkpointEverySeconds: 1e-6 });
  await expect(runIn("nan", config, {}, broken)).rejects.toMatchObject({
    code: "NOT_FINITE",
    message: expect.stringMatching(/step 5.*extra is NaN/) as string,
    exitCode: 1,
  });
  const path = join(folder, "nan");
  expect((await readState(join(path, "checkpoints", "state"))).counters.step).toBe(4);
  const { encoder } = await loadCheckpoint(path);
  encoder.dispose();
});

test("an encoder that has diverged is not saved", async () => {
  const config = configOf({ learningRate: 1e30, warmupFraction: 0, checkpointEverySeconds: 1e-6 });
  await expect(runIn("diverged", config)).rejects.toMatchObject({
    code: "NOT_FINITE",
    message: expect.stringMatching(/embeddings are not finite after step 1/) as string,
  });
  const path = join(folder, "diverged");
  expect(await readdir(join(path, "checkpoints"))).toEqual(["state"]); // of before the first step
  expect((await readState(join(path, "checkpoints", "state"))).counters.step).toBe(0);
});

test("a gradient that is not a number stops the run and is named, though the loss is fine", async () => {
  const broken: Objective = {
    ...toyContrastive,
    loss(context) {
      const lossOf = toyContrastive.loss(context);
      const scale = context.scope.parameter("trap", [], { kind: "constant", value: 0 });
      return (embeddings) => {
        const { total, parts } = lossOf(embeddings);
        return { total: tf.add(total, tf.sqrt(scale)), parts }; // √0 has an infinite slope
      };
    },
  };
  await expect(runIn("gradient", configOf(), {}, broken)).rejects.toMatchObject({
    code: "NOT_FINITE",
    message: expect.stringMatching(/gradient of objective\.toy\.trap .*step 1 \(1 of/) as string,
  });
});

test("a refusal of the input ends the run with it, and what was trained until then is saved", async () => {
  const refusal = new SomaError({
    code: "TORN",
    kind: "corrupt",
    what: "a picture is torn",
    next: "mend it",
  });
  const torn = beforeDrawing((step) => {
    if (step === 2) throw refusal;
  });
  await expect(runIn("torn", configOf(), {}, torn)).rejects.toBe(refusal);
  const path = join(folder, "torn");
  expect((await readState(join(path, "checkpoints", "state"))).counters.step).toBe(2);
  const { steps } = await resume(path, configOf());
  expect(steps).toBe(6);
});

test("a step that leaks a tensor is caught as a bug", async () => {
  const leaking = beforeDrawing(() => {
    tf.keep(tf.scalar(1));
  });
  await expect(runIn("leak", configOf(), {}, leaking)).rejects.toThrow(/step 2 leaks 1 tensor/);
});

test("a run of seconds ends in time and says how long it took", async () => {
  const config = configOf({ seconds: 2 });
  const startedMs = performance.now();
  const { result } = await runIn("seconds", config);
  expect(result.seconds).toBeLessThanOrEqual(2);
  expect(result.seconds).toBeGreaterThan(1);
  expect(result.steps).toBeGreaterThan(1);
  expect((performance.now() - startedMs) / 1000).toBeGreaterThan(result.seconds);
});

test("a full disk, at whichever file it strikes, stops the run and leaves what was saved before", async () => {
  const config = configOf({
    steps: 2,
    checkpointEverySeconds: 1e-6,
    validation: { everySteps: 2 },
  });
  for (let failing = 0; ; failing++) {
    let files = 0;
    const write = {
      writeFile: async (path: string, content: Uint8Array | string): Promise<void> => {
        if (files++ === failing) throw Object.assign(new Error("full"), { code: "ENOSPC" });
        const { writeFile } = await import("node:fs/promises");
        await writeFile(path, content);
      },
    };
    const name = `full-${failing}`;
    const outcome = await runIn(name, config, { write }).catch((error: unknown) => error);
    if (!(outcome instanceof SomaError)) {
      expect(failing).toBeGreaterThan(12); // the run got through: every file has been the failing one
      break;
    }
    expect(outcome).toMatchObject({ code: "DISK_FULL", exitCode: 7 });
    const checkpoints = join(folder, name, "checkpoints");
    for (const kind of await readdir(checkpoints).catch(() => [])) {
      expect(kind).toMatch(/^(last|best|state)$/); // no half-written folders
      if (kind === "state") {
        await readState(join(checkpoints, kind)); // whole
      } else {
        const { encoder } = await loadCheckpoint(join(checkpoints, kind));
        encoder.dispose();
      }
    }
    await rm(join(folder, name), { recursive: true });
  }
});

test("the run folder says what was run: config, metrics and events", async () => {
  const { path } = await runIn("folder", configOf());
  expect((await readdir(path)).map((name) => name.replace(/\.\d+\./, ".N."))).toEqual([
    "checkpoints",
    "config.yaml",
    "env.json",
    "events.out.tfevents.N.soma",
    "metrics.jsonl",
  ]);
  const lines = await readMetrics(path);
  expect(lines.map(({ kind, step }) => `${kind} ${step}`)).toEqual([
    "validation 0",
    "train 1",
    "train 2",
    "validation 3",
    "train 4",
    "collapse 4",
    "train 6",
    "validation 6",
  ]);
  const events = (await readdir(path)).find((name) => name.startsWith("events")) ?? "";
  expect((await stat(join(path, events))).size).toBeGreaterThan(200);
});

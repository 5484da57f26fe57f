/** Two steps of every recipe on made-up data, through the trainer: for tests that run it on several backends. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBackend } from "../../models/backend.ts";
import { resolveConfig } from "../../training/config.ts";
import { openExperiment } from "../../training/experiment.ts";
import { OBJECTIVES } from "../../training/objectives/registry.ts";
import { RECIPES, type Recipe } from "../../training/recipes.ts";
import { readMetrics, RunFolder } from "../../training/run-folder.ts";
import { train } from "../../training/trainer.ts";
import { madeUpDataset } from "./made-up-dataset.ts";

export interface RecipeSteps {
  readonly backend: string;
  /** Title → loss of the first step and of the second. */
  readonly losses: Readonly<Record<string, readonly number[]>>;
}

/** Every recipe as it is, and with the other loss, attention and the differential objective laid over it. */
export async function runRecipes(): Promise<RecipeSteps> {
  const { name } = await startBackend();
  const losses: Record<string, readonly number[]> = {};
  for (const recipe of RECIPES) {
    losses[recipe.name] = await twoSteps(recipe, {});
    losses[`${recipe.name}, sigmoid and differential`] = await twoSteps(recipe, widened(recipe));
  }
  return { backend: name, losses };
}

type Layer = Readonly<Record<string, unknown>>;

function widened(recipe: Recipe): Layer {
  const { encoder, objectives } = recipe.config as { encoder: Layer; objectives: Layer };
  const modality = "image" in encoder ? "image" : "text";
  const towers = ["image", "text"].filter((tower) => tower in encoder);
  return {
    encoder: Object.fromEntries(towers.map((tower) => [tower, { layers: 1, width: 64 }])),
    objectives: {
      ...Object.fromEntries(Object.keys(objectives).map((name) => [name, { loss: "sigmoid" }])),
      differential: { weight: 0.5, modality },
    },
    ema: 0.9,
  };
}

async function twoSteps(recipe: Recipe, over: Layer): Promise<readonly number[]> {
  const small = {
    steps: 2,
    batchSize: 8,
    logEverySteps: 1,
    validation: { everySeconds: 0, everySteps: 2, groups: 4 },
    collapse: { everySteps: 2, examples: 8 },
    inputWorkers: 0,
  };
  const config = resolveConfig([
    { where: "the recipe", values: { recipe: recipe.name, ...recipe.config } },
    { where: "this test", values: over },
    { where: "this test", values: small },
  ]);
  const dataset = await madeUpDataset({
    groupCount: 24,
    textVariants: ["en", "en-tags"],
    splitOf: (i) => (i % 6 === 0 ? "validation" : "train"),
  });
  const folder = await mkdtemp(join(tmpdir(), "soma-recipes-"));
  const experiment = await openExperiment(config, { objectives: OBJECTIVES, dataset });
  try {
    const path = join(folder, "run");
    await train(experiment, await RunFolder.create(path, { config, environment: {} }));
    const lines = await readMetrics(path);
    return lines.flatMap(({ kind, loss }) => (kind === "train" ? [Number(loss)] : []));
  } finally {
    experiment.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}

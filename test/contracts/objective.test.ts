/** What every objective in the registry promises the trainer. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Dataset } from "../../datasets/dataset.ts";
import type { ImageStore } from "../../datasets/image-store.ts";
import { loadImages } from "../../datasets/images.ts";
import { makeSynthetic } from "../../datasets/synthetic.ts";
import { startBackend, tf } from "../../models/backend.ts";
import { Scope } from "../../models/module.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { loadTextTokenizer, type TextTokenizer } from "../../tokenizers/text/sentencepiece.ts";
import { assertFinite, computeGradients } from "../../training/gradients.ts";
import { prepareStep, stateOf, type WeightedLoss } from "../../training/combine.ts";
import { drawStep } from "../../training/input/job.ts";
import { BatchMemory } from "../../training/input/memory.ts";
import type { EmbeddingStep, Objective } from "../../training/objective.ts";
import { OBJECTIVES } from "../../training/objectives/registry.ts";
import { AdamW, disposeValues } from "../../training/optimizer.ts";
import { TINY_CONFIG } from "../support/tiny-encoder.ts";

let dataset: Dataset;
let images: ImageStore;
let tokenizer: TextTokenizer;
beforeAll(async () => {
  await startBackend();
  dataset = await makeSynthetic({ groupCount: 80 });
  images = await loadImages(dataset, dataset.examples, { maxPatches: 16 });
  tokenizer = await loadTextTokenizer();
});

describe.each(Object.entries<Objective>(OBJECTIVES))("the objective %s", (name, objective) => {
  const made: { dispose(): void }[] = [];
  afterAll(() => {
    for (const item of made) item.dispose();
  });

  /** A fresh encoder and objective, equal for equal seeds. */
  function make(seed: number): {
    encoder: TransformerEncoder;
    prepare: (step: number) => EmbeddingStep;
    /** What the trainer does after an update, for what the objective carries along. */
    settle: () => void;
    parameters: ReturnType<Scope["parameters"]>;
  } {
    const encoder = new TransformerEncoder(TINY_CONFIG, seededRng(seed, "weights"));
    const scope = Scope.root(seededRng(seed, "objective"));
    const encoderConfig = encoder.config;
    const sampler = objective.sampler({
      dataset,
      images,
      tokenizer,
      encoder: encoderConfig,
      seed,
      batchSize: 12,
      settings: {},
    });
    const context = { encoder: encoderConfig, scope, settings: {} };
    const loss: WeightedLoss =
      "loss" in objective
        ? { name, weight: 1, lossOf: objective.loss(context) }
        : { name, weight: 1, pass: objective.pass({ ...context, trunk: encoder, seed }) };
    const prepare = (step: number): EmbeddingStep =>
      prepareStep(drawStep([sampler], step, new BatchMemory()), [loss], step);
    made.push({
      dispose() {
        stateOf(loss)?.dispose();
        encoder.dispose();
        scope.dispose();
      },
    });
    const parameters = new Map([...encoder.parameters(), ...scope.parameters()]);
    const settle = (): void => {
      stateOf(loss)?.afterUpdate(parameters);
    };
    return { encoder, prepare, settle, parameters };
  }

  test("prepares a step as a function of seed and step alone, whatever was prepared before", () => {
    const lossOf = (seed: number, before: readonly number[], step: number): number => {
      const { encoder, prepare, parameters } = make(seed);
      for (const other of before) prepare(other);
      const { loss, arrays } = computeGradients([prepare(step)], encoder, parameters);
      disposeValues(arrays.values());
      return loss;
    };
    const loss = lossOf(1, [], 9);
    expect(lossOf(1, [0, 1, 30, 9], 9)).toBe(loss);
    expect(lossOf(1, [], 10)).not.toBe(loss);
    expect(lossOf(2, [], 9)).not.toBe(loss);
  });

  test("gives a finite loss with gradients, counts its sequences and leaves no tensors", () => {
    const { encoder, prepare, settle, parameters } = make(3);
    disposeValues(computeGradients([prepare(0)], encoder, parameters).arrays.values()); // builds what stays
    settle();
    const before = tf.memory().numTensors;
    const prepared = prepare(1);
    const gradients = computeGradients([prepared], encoder, parameters);
    assertFinite(gradients, 1);
    disposeValues(gradients.arrays.values());
    settle();
    expect(tf.memory().numTensors).toBe(before);
    expect(gradients.norm).toBeGreaterThan(0);
    expect(prepared.exampleCount).toBeGreaterThan(0);
    expect(prepared.exampleCount % 1).toBe(0);
  });

  test("is lowered by training on one batch, unless it was zero", () => {
    const { encoder, prepare, parameters } = make(4);
    const adam = { betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0 } as const;
    const optimizer = new AdamW(parameters, adam);
    const losses: number[] = [];
    for (let i = 0; i < 20; i++) {
      const { loss, arrays } = computeGradients([prepare(0)], encoder, parameters);
      losses.push(loss);
      optimizer.update(arrays, { learningRate: 3e-3, gradientScale: 1 });
    }
    // An encoder whose layers begin as nothing is a sum over its tokens: its differential loss is zero from the start.
    expect(losses.at(-1)).toBeLessThan(Math.max(1e-5, 0.9 * (losses[0] ?? 0)));
  });
});

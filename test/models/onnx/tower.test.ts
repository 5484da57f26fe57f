/**
 * A tower as an ONNX graph gives the embeddings of the encoder that it came from: run by our own reading of the
 * operators, and by onnxruntime-node where SOMA_PEER_MODULES names a folder whose node_modules has it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { differenceOf, findOnnxRuntime, openPeer } from "../../../bench/speed/onnxruntime.ts";
import { readValues, startBackend, tf } from "../../../models/backend.ts";
import { packTokens, type TokenBatch } from "../../../models/batch.ts";
import { readCheckpoint, type Checkpoint } from "../../../models/checkpoint-folder.ts";
import { saveCheckpoint } from "../../../models/checkpoint.ts";
import { parseEncoderConfig, type EncoderConfig } from "../../../models/config.ts";
import { imageGraph, INPUT_NAME, textGraph } from "../../../models/onnx/tower.ts";
import { TransformerEncoder } from "../../../models/transformer.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { runOnnx } from "../../support/onnx-runner.ts";
import { TINY_CARD } from "../../support/tiny-encoder.ts";

/** Of the largest number: float32 against the runner's doubles. */
const TOLERANCE = 1e-5;

const modules = process.env["SOMA_PEER_MODULES"];
const entry = modules === undefined ? undefined : findOnnxRuntime(modules);
if (entry === undefined) {
  console.warn(
    "test/models/onnx/tower.test.ts: onnxruntime-node is left out, as SOMA_PEER_MODULES names no folder with it",
  );
}

const base = { architecture: "transformer", dimension: 24, matryoshka: [8, 24] };
const image = { channels: [8, 12], width: 20, heads: 2, anchors: 2, maxPatches: 24 };
const text = { vocabularySize: 8192, width: 24, heads: 3, maxTokens: 16 };
const CONFIGS = {
  "no layers, a head": {
    ...base,
    image: { ...image, layers: 0, head: 16 },
    text: { ...text, layers: 0, head: 16 },
  },
  "layers with ReLU": {
    ...base,
    image: { ...image, layers: 2 },
    text: { ...text, layers: 2 },
  },
  "a layer with GELU, a head": {
    ...base,
    image: { ...image, layers: 1, activation: "gelu", head: 16 },
    text: { ...text, layers: 1, activation: "gelu", head: 16 },
  },
};
/** Of the anchors' own size, finer and coarser than they are, and not square. */
const GRIDS = [
  [2, 2],
  [4, 3],
  [1, 2],
] as const;

let folder: string;
beforeAll(async () => {
  await startBackend();
  folder = await mkdtemp(join(tmpdir(), "soma-onnx-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function pictures([columns, rows]: readonly [number, number]): TokenBatch {
  const rng = seededRng(5, "pictures");
  const grid = { columns, rows, times: 1 };
  const inputs = Array.from({ length: 3 }, () => {
    const patches = Uint8Array.from({ length: columns * rows * 768 }, () => rng.uniform(256));
    return {
      tokens: { kind: "patches", modality: "image", patches, patchBytes: 768, grid } as const,
    };
  });
  return packTokens(inputs);
}

function texts(units: number): TokenBatch {
  const rng = seededRng(6, "texts");
  return packTokens(
    Array.from({ length: 3 }, () => {
      const ids = Int32Array.from({ length: units }, () => rng.uniform(8192));
      return { tokens: { kind: "ids", modality: "text", ids } as const };
    }),
  );
}

/** Every parameter drawn, so that none that starts at 0 or 1 could be left out unseen. */
function drawnEncoder(config: EncoderConfig): TransformerEncoder {
  const encoder = new TransformerEncoder(config, seededRng(4, "onnx"));
  const rng = seededRng(4, "onnx/all");
  for (const [name, variable] of encoder.parameters()) {
    const fan = variable.rank === 2 && !name.endsWith("table") ? variable.shape[0] : 4;
    const values = Float32Array.from(
      { length: variable.size },
      () => (rng.unit() * 2 - 1) / Math.sqrt(fan),
    );
    tf.tidy(() => {
      variable.assign(tf.tensor(values, variable.shape));
    });
  }
  return encoder;
}

function run(checkpoint: Checkpoint, batch: TokenBatch): Float32Array {
  const graph =
    batch.kind === "ids"
      ? textGraph(checkpoint, batch.units)
      : imageGraph(checkpoint, batch.grids[0] as (typeof batch.grids)[number]);
  const { size, units } = batch;
  const input =
    batch.kind === "ids"
      ? { shape: [size, units], data: Float64Array.from(batch.ids) }
      : { shape: [size, units, 768], data: Float64Array.from(batch.patches) };
  const { shape, data } = runOnnx(graph, new Map([[INPUT_NAME, input]]));
  expect(shape).toEqual([size, checkpoint.config.dimension]);
  return Float32Array.from(data);
}

describe.each(Object.entries(CONFIGS))("a tower with %s", (name, plain) => {
  const batches: [string, () => TokenBatch][] = [
    ...GRIDS.map((grid): [string, () => TokenBatch] => [
      `pictures of ${grid.join("×")} patches`,
      () => pictures(grid),
    ]),
    ["texts of 7 tokens", () => texts(7)],
    ["texts of one token", () => texts(1)],
  ];
  let encoder: TransformerEncoder;
  let checkpoint: Checkpoint;
  beforeAll(async () => {
    encoder = drawnEncoder(parseEncoderConfig(plain));
    await saveCheckpoint(join(folder, name), { encoder, card: TINY_CARD });
    checkpoint = await readCheckpoint(join(folder, name));
  });
  afterAll(() => {
    encoder.dispose();
  });

  test.each(batches)("gives its embeddings of %s", (_title, make) => {
    const batch = make();
    const ours = readValues(() => encoder.forward(batch));
    expect(Math.max(...ours.map(Math.abs))).toBeGreaterThan(0.1);
    expect(differenceOf(ours, run(checkpoint, batch))).toBeLessThan(TOLERANCE);
  });

  test.skipIf(entry === undefined).each(batches)(
    "gives its embeddings of %s in onnxruntime",
    async (_title, make) => {
      const batch = make();
      const ours = readValues(() => encoder.forward(batch));
      const peer = await openPeer(entry ?? "", checkpoint, batch, ours, 1);
      await peer.close();
      expect(peer.difference).toBeLessThan(TOLERANCE);
    },
  );
});

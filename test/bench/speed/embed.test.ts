import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { embedBenchCommand, type EmbedBenchFlags } from "../../../bench/speed/embed-command.ts";
import { EmbedBench } from "../../../bench/speed/embed.ts";
import { findOnnxRuntime, openPeer } from "../../../bench/speed/onnxruntime.ts";
import { startBackend, tf } from "../../../models/backend.ts";
import type { TokenBatch } from "../../../models/batch.ts";
import { readCheckpoint } from "../../../models/checkpoint-folder.ts";
import { saveCheckpoint } from "../../../models/checkpoint.ts";
import { parseEncoderConfig } from "../../../models/config.ts";
import { TransformerEncoder } from "../../../models/transformer.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { TINY_CARD, TINY_IMAGE_CONFIG } from "../../support/tiny-encoder.ts";

let home: string;
let flags: EmbedBenchFlags;

beforeAll(async () => {
  await startBackend();
  home = await mkdtemp(join(tmpdir(), "soma-embed-bench-"));
  const config = parseEncoderConfig({ ...TINY_IMAGE_CONFIG });
  const encoder = new TransformerEncoder(config, seededRng(3, "embed-bench"));
  await saveCheckpoint(home, { encoder, card: TINY_CARD });
  encoder.dispose();
  flags = {
    ...{ checkpoint: home, batch: "3", seconds: "1", seed: "1", precision: "float32" },
    ...{ peerModules: home, json: true, quiet: true },
  };
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function printed(more: Partial<EmbedBenchFlags> = {}): Promise<Record<string, unknown>> {
  const write = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  try {
    await embedBenchCommand({ ...flags, ...more });
    return JSON.parse(String(write.mock.calls[0]?.[0])) as Record<string, unknown>;
  } finally {
    write.mockRestore();
  }
}

test("one JSON document says how many examples a second a checkpoint embeds, and nothing leaks", async () => {
  const tensorsBefore = tf.memory().numTensors;
  const document = await printed();
  expect(document).toMatchObject({ modality: "image", batch: 3, size: 64, tokens: 16 });
  expect(document).toMatchObject({ dimension: 32, tensorsLeaked: 0 });
  const rate = document["examplesPerSecond"] as number;
  const [batches, seconds] = [document["batches"] as number, document["seconds"] as number];
  expect(rate).toBeCloseTo((3 * batches) / seconds, 6);
  expect(tf.memory().numTensors).toBe(tensorsBefore);
});

test("a peer that is not installed is named, with the way to install it, and ours is measured all the same", async () => {
  const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const document = await printed({ peer: true });
  expect(String(said.mock.calls[0]?.[0])).toMatch(/onnxruntime-node.*npm install/s);
  said.mockRestore();
  expect(document["examplesPerSecond"]).toBeGreaterThan(0);
});

test.each<[string, Partial<EmbedBenchFlags>, RegExp]>([
  ["a modality that the checkpoint does not read", { modality: "text" }, /not trained on text/],
  ["a modality that there is not", { modality: "smell" }, /--modality/],
  ["no examples", { batch: "0" }, /--batch/],
  ["a precision that there is not", { precision: "int3" }, /--precision/],
  ["a peer beside other arithmetic", { peer: true, precision: "bf16" }, /--precision is "bf16"/],
])("%s is refused", async (_title, more, message) => {
  await expect(printed(more)).rejects.toThrow(message);
});

describe("a peer that is there", () => {
  /** A stand-in for onnxruntime-node that answers with the numbers of a file, each time. */
  async function installStandIn(answer: Float32Array): Promise<string> {
    const modules = await mkdtemp(join(home, "peer-"));
    const folder = join(modules, "node_modules", "onnxruntime-node");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "answer"), new Uint8Array(answer.buffer));
    await writeFile(
      join(folder, "package.json"),
      '{ "name": "onnxruntime-node", "main": "a.cjs" }',
    );
    await writeFile(
      join(folder, "a.cjs"),
      `const bytes = require("node:fs").readFileSync(__dirname + "/answer");
       const data = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
       const session = { inputNames: ["tokens"], outputNames: ["embeddings"], run: async () => ({ embeddings: { data } }) };
       module.exports = {
         env: { versions: { node: "stand-in" } },
         InferenceSession: { create: async () => session },
         Tensor: class {},
       };`,
    );
    return modules;
  }

  /** Of the batch that the command draws. */
  async function ownAnswer(): Promise<{ batch: TokenBatch; embeddings: Float32Array }> {
    const work = { modality: "image", batch: 3, seed: 1 } as const;
    const bench = await EmbedBench.open(home, work, { precision: "float32" });
    const embeddings = bench.embed();
    bench.dispose();
    return { batch: bench.batch, embeddings };
  }

  test("is run on the same batch and reports the same figures, if it gives our embeddings", async () => {
    const { batch, embeddings } = await ownAnswer();
    const modules = await installStandIn(embeddings);
    const entry = findOnnxRuntime(modules) ?? "";
    const peer = await openPeer(entry, await readCheckpoint(home), batch, embeddings, 1);
    const figures = await peer.run({ seconds: 0.05, warmup: 1 });
    await peer.close();
    expect(peer.difference).toBe(0);
    expect(figures).toMatchObject({ engine: "onnxruntime-node stand-in", threads: 1 });
    expect(figures.examplesPerSecond).toBeGreaterThan(0);
    expect(figures.peakRssMiB).toBeGreaterThan(10);
  });

  test("is not timed if its embeddings are not ours", async () => {
    const { embeddings } = await ownAnswer();
    const largest = Math.max(...embeddings.map(Math.abs));
    embeddings[5] = (embeddings[5] ?? 0) + 2e-4 * largest;
    const peerModules = await installStandIn(embeddings);
    await expect(printed({ peer: true, peerModules })).rejects.toThrow(
      /differ from ours by 2\.0e-4/,
    );
  });
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { embedBenchCommand, type EmbedBenchFlags } from "../../../bench/speed/embed-command.ts";
import { startBackend, tf } from "../../../models/backend.ts";
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
])("%s is refused", async (_title, more, message) => {
  await expect(printed(more)).rejects.toThrow(message);
});

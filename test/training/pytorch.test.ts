/**
 * The way to PyTorch and back (docs/beyond-one-machine.md), with the scripts of examples/pytorch as they stand: equal
 * embeddings there, a training step on two processes there, equal embeddings of the result here.
 * Needs a Python with torch and safetensors: SOMA_PEER_PYTHON, else python3.
 */
import { execFile, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBackend, tf } from "../../models/backend.ts";
import { readSafetensors } from "../../models/safetensors.ts";
import { saveCheckpoint } from "../../models/checkpoint.ts";
import { parseEncoderConfig, type EncoderConfig } from "../../models/config.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { embedCommand } from "../../training/embed-command.ts";
import { tokensCommand } from "../../training/tokens-command.ts";
import { bytesOf, noise } from "../support/pictures.ts";
import { TINY_CARD } from "../support/tiny-encoder.ts";

const PYTHON = process.env["SOMA_PEER_PYTHON"] ?? "python3";
const found = spawnSync(PYTHON, ["-c", "import torch, safetensors.torch"], { encoding: "utf8" });
const reason = found.status === 0 ? "" : `${PYTHON} cannot import torch and safetensors`;
if (reason !== "") console.warn(`test/training/pytorch.test.ts is skipped: ${reason}`);

/** Wide enough to see a wrong order or a wrong norm; the differences of float32 sums stay ten times below. */
const TOLERANCE = 1e-4;
const GROUPS = 12;

/** Without layers: what the recipes train. Grids of pictures differ from the anchors'. */
const PLAIN = parseEncoderConfig({
  architecture: "transformer",
  dimension: 48,
  matryoshka: [16, 48],
  image: {
    channels: [12, 20],
    width: 24,
    layers: 0,
    heads: 1,
    anchors: 3,
    head: 40,
    trim: true,
    maxPatches: 16,
  },
  text: { vocabularySize: 8192, width: 32, layers: 0, heads: 1, maxTokens: 8, head: 24 },
});
const LAYERED = parseEncoderConfig({
  architecture: "transformer",
  dimension: 32,
  matryoshka: [8, 32],
  image: {
    channels: [8, 16],
    width: 24,
    layers: 2,
    heads: 3,
    activation: "gelu",
    anchors: 2,
    maxPatches: 24,
  },
  text: { vocabularySize: 8192, width: 16, layers: 2, heads: 2, maxTokens: 16 },
});

let folder: string;
beforeAll(async () => {
  if (reason !== "") return;
  await startBackend();
  folder = await mkdtemp(join(tmpdir(), "soma-pytorch-"));
  await mkdir(join(folder, "pictures"));
  const lines: string[] = [];
  for (let g = 0; g < GROUPS; g++) {
    const image = `pictures/${g}.png`;
    await writeFile(join(folder, image), await bytesOf(noise(40 + 17 * g, 120 - 7 * g).png()));
    const group = `g${g}`;
    lines.push(JSON.stringify({ id: `${g}/a`, group, split: "train", image }));
    lines.push(
      JSON.stringify({
        id: `${g}/b`,
        group,
        split: "train",
        text: "some words ".repeat(1 + (g % 5)) + `and number ${g}`,
      }),
    );
  }
  await writeFile(join(folder, "data.jsonl"), `${lines.join("\n")}\n`);
});
afterAll(async () => {
  if (reason === "") await rm(folder, { recursive: true });
});

/** A checkpoint of random weights, none of them zero: what starts silent must count here. */
async function checkpointOf(name: string, config: EncoderConfig): Promise<string> {
  const encoder = new TransformerEncoder(config, seededRng(5, name));
  const rng = seededRng(6, name);
  for (const variable of encoder.parameters().values()) {
    tf.tidy(() => {
      const bump = Float32Array.from({ length: variable.size }, () => 0.2 * (rng.unit() - 0.5));
      variable.assign(tf.add(variable, tf.tensor(bump, variable.shape)));
    });
  }
  const path = join(folder, name);
  await saveCheckpoint(path, { encoder, card: TINY_CARD });
  encoder.dispose();
  return path;
}

async function tokensOf(checkpoint: string): Promise<string> {
  const out = `${checkpoint}.tokens.jsonl`;
  await tokensCommand(checkpoint, { manifest: join(folder, "data.jsonl"), out, quiet: true });
  return out;
}

type Embeddings = ReadonlyMap<string, readonly number[]>;

async function embedHere(checkpoint: string): Promise<Embeddings> {
  const out = `${checkpoint}.embeddings.jsonl`;
  const manifest = join(folder, "data.jsonl");
  await embedCommand(checkpoint, { manifest, out, batch: "8", quiet: true });
  return embeddingsIn(await readFile(out, "utf8"));
}

async function embedThere(checkpoint: string, tokens: string): Promise<Embeddings> {
  return embeddingsIn(await python("examples/pytorch/soma_torch.py", "embed", checkpoint, tokens));
}

function embeddingsIn(lines: string): Embeddings {
  const rows = lines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { id: string; modality: string; embedding: number[] });
  return new Map(rows.map(({ id, modality, embedding }) => [`${id} ${modality}`, embedding]));
}

async function python(...args: readonly string[]): Promise<string> {
  const env = { ...process.env, OMP_NUM_THREADS: "1", PYTHONDONTWRITEBYTECODE: "1" };
  const { stdout } = await promisify(execFile)(PYTHON, args, { env, maxBuffer: 1 << 26 });
  return stdout;
}

/** Largest difference of any number of any embedding. */
function difference(a: Embeddings, b: Embeddings): number {
  expect([...a.keys()].sort()).toEqual([...b.keys()].sort());
  const gaps = [...a].flatMap(([key, row]) =>
    row.map((value, i) => Math.abs(value - (b.get(key)?.[i] ?? Number.NaN))),
  );
  return gaps.reduce((most, gap) => (gap <= most ? most : gap), 0); // NaN wins
}

// Each start of PyTorch takes seconds, on a busy machine many.
describe.skipIf(reason !== "")("PyTorch and back", { timeout: 300_000 }, () => {
  test.each([
    ["without layers, with heads", PLAIN],
    ["with transformer layers", LAYERED],
  ])("an encoder %s gives the same embeddings in PyTorch", async (name, config) => {
    const checkpoint = await checkpointOf(name.replaceAll(" ", "-"), config);
    const tokens = await tokensOf(checkpoint);
    const [here, there] = [await embedHere(checkpoint), await embedThere(checkpoint, tokens)];
    expect(here.size).toBe(2 * GROUPS);
    expect(difference(here, there)).toBeLessThan(TOLERANCE);
  });

  test("what two processes of PyTorch trained is what one would have, and gives the same embeddings here", async () => {
    const checkpoint = await checkpointOf("start", LAYERED);
    const tokens = await tokensOf(checkpoint);
    const [one, two] = [join(folder, "one"), join(folder, "two")];
    const flags = ["--steps", "1", "--batch", String(GROUPS)];
    const script = ["examples/pytorch/train.py", checkpoint, tokens, ...flags];
    const torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"];
    const alone = await python(...script, "--out", one);
    expect(await python(...torchrun, ...script, "--out", two)).toBe(alone);

    const before = await weightsOf(checkpoint);
    const [byOne, byTwo] = [await weightsOf(one), await weightsOf(two)];
    let [moved, apart] = [0, 0];
    for (const [name, weights] of byOne) {
      const steps = differences(weights, before.get(name));
      // Adam's first step is the learning rate, 1e-4, wherever there is a gradient.
      expect(largestOf(steps), name).toBeGreaterThan(5e-5);
      moved += squareOf(steps);
      apart += squareOf(differences(weights, byTwo.get(name)));
    }
    // As a whole: where a gradient is nothing but rounding (a bias of keys), Adam makes a step of it all the same.

    expect(Math.sqrt(apart / moved)).toBeLessThan(1e-2);
    expect(difference(await embedHere(two), await embedThere(two, tokens))).toBeLessThan(TOLERANCE);
    expect(difference(await embedHere(two), await embedHere(checkpoint))).toBeGreaterThan(1e-3);
  });

  test("PyTorch refuses a checkpoint whose weights are not the ones that config.json names", async () => {
    const checkpoint = await checkpointOf("damaged", PLAIN);
    const path = join(checkpoint, "model.safetensors");
    const bytes = await readFile(path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await writeFile(path, bytes);
    await expect(embedThere(checkpoint, "none")).rejects.toThrow(/SHA-256 is not the one/);
  });
});

async function weightsOf(checkpoint: string): Promise<ReadonlyMap<string, Float32Array>> {
  const { tensors } = readSafetensors(await readFile(join(checkpoint, "model.safetensors")));
  return new Map([...tensors].map(([name, { data }]) => [name, data]));
}

function differences(a: Float32Array, b: Float32Array | undefined): Float32Array {
  return a.map((value, i) => value - (b?.[i] ?? Number.NaN));
}

function squareOf(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}

function largestOf(values: Float32Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

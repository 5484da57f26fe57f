import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { SomaError } from "../../base/errors.ts";
import { SOMA_VERSION } from "../../base/version.ts";
import { startBackend, tf } from "../../models/backend.ts";
import {
  loadCheckpoint,
  loadWeights,
  readWeights,
  saveCheckpoint,
} from "../../models/checkpoint.ts";
import {
  readCheckpoint,
  resolveCheckpoint,
  writeCheckpoint,
} from "../../models/checkpoint-folder.ts";
import { writeSafetensors, type HostTensor } from "../../models/safetensors.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { TINY_CARD, TINY_CONFIG, TINY_IMAGE_CONFIG } from "../support/tiny-encoder.ts";
import { transpileSources } from "../support/transpile.ts";

let home: string;
/** A good checkpoint, made once; tests damage copies. */
let good: string;
let encoder: TransformerEncoder;

beforeAll(async () => {
  await startBackend();
  home = await mkdtemp(join(tmpdir(), "soma-checkpoint-"));
  good = join(home, "good");
  encoder = new TransformerEncoder(TINY_CONFIG, seededRng(7, "weights"));
  await saveCheckpoint(good, { encoder, card: TINY_CARD });
});

afterAll(async () => {
  encoder.dispose();
  await rm(home, { recursive: true, force: true });
});

let copy: string;
let copyIndex = 0;
beforeEach(async () => {
  copy = join(home, `copy-${copyIndex++}`);
  await cp(good, copy, { recursive: true });
});

/** The refusal of a path; fails the test if it loads. */
async function refusal(path: string): Promise<SomaError> {
  try {
    const loaded = await loadCheckpoint(path);
    loaded.encoder.dispose();
  } catch (error) {
    if (error instanceof SomaError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

/** Digest of all weights: quick to compare. */
async function weightsDigest(of: TransformerEncoder): Promise<string> {
  return createHash("sha256")
    .update(writeSafetensors(await readWeights(of)))
    .digest("hex");
}

/** Change config.json and sign it again, as someone who knows the format would. */
async function rewriteConfig(change: (config: Record<string, unknown>) => void): Promise<void> {
  const path = join(copy, "config.json");
  const config = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  delete config["digest"];
  change(config);
  const digest = createHash("sha256").update(JSON.stringify(config)).digest("hex");
  await writeFile(path, JSON.stringify({ ...config, digest }));
}

/** Tensors of the copy, changed and pinned again. */
async function rewriteTensors(change: (tensors: Map<string, HostTensor>) => void): Promise<void> {
  const tensors = await readWeights(encoder);
  change(tensors);
  await saveCheckpoint(copy, { config: TINY_CONFIG, tensors, card: TINY_CARD });
}

describe("a checkpoint", () => {
  test("gives back the weights bit by bit, the config, and the name", async () => {
    const loaded = await loadCheckpoint(good);
    expect(await weightsDigest(loaded.encoder)).toEqual(await weightsDigest(encoder));
    expect(loaded.encoder.config).toEqual(TINY_CONFIG);
    expect(loaded.checkpoint.name).toBe("tiny");
    loaded.encoder.dispose();
  });

  test("is a folder in the shape of a Hugging Face model", async () => {
    expect((await readdir(good)).sort()).toEqual([
      "README.md",
      "config.json",
      "model.safetensors",
      "tokenizer.model",
    ]);
  });

  test("has one digest for equal content, whatever the card says, and another for other weights", async () => {
    const again = await saveCheckpoint(copy, {
      encoder,
      card: { ...TINY_CARD, summary: "Other." },
    });
    expect(again).toBe((await readCheckpoint(good)).digest);
    const other = new TransformerEncoder(TINY_CONFIG, seededRng(8, "weights"));
    expect(await saveCheckpoint(copy, { encoder: other, card: TINY_CARD })).not.toBe(again);
    other.dispose();
  });

  test("may hold other weights than the live ones", async () => {
    const tensors = await readWeights(encoder);
    for (const { data } of tensors.values()) data.fill(0.5);
    await saveCheckpoint(copy, { config: TINY_CONFIG, tensors, card: TINY_CARD });
    const read = (await readCheckpoint(copy)).tensors;
    expect([...read.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const { data } of read.values()) expect(data.every((value) => value === 0.5)).toBe(true);
  });

  test("saving and loading leaks no tensor", async () => {
    const before = tf.memory().numTensors;
    for (let i = 0; i < 3; i++) {
      await saveCheckpoint(copy, { encoder, card: TINY_CARD });
      (await loadCheckpoint(copy)).encoder.dispose();
    }
    await rewriteTensors((tensors) => tensors.delete([...tensors.keys()][0] ?? ""));
    await refusal(copy);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("config.json may be reformatted and the card rewritten", async () => {
    const path = join(copy, "config.json");
    const reformatted = JSON.stringify(
      JSON.parse(await readFile(path, "utf8")) as unknown,
      null,
      7,
    );
    await writeFile(path, reformatted);
    await writeFile(join(copy, "README.md"), "Mine.");
    expect((await readCheckpoint(copy)).name).toBe("tiny");
  });

  test("names the version that package.json has", async () => {
    const text = await readFile(new URL("../../package.json", import.meta.url), "utf8");
    expect(SOMA_VERSION).toBe((JSON.parse(text) as { version: string }).version);
    expect((await readCheckpoint(good)).somaVersion).toBe(SOMA_VERSION);
  });
});

describe("the model card", () => {
  test("opens with front matter that a YAML reader understands", async () => {
    const card = await readFile(join(good, "README.md"), "utf8");
    const [, frontMatter = ""] = card.split(/^---$/m);
    expect(parse(frontMatter)).toMatchObject({
      license: "apache-2.0",
      library_name: "soma",
      tags: ["soma", "embeddings", "image", "text", "test"],
      datasets: ["synthetic"],
      metrics: ["R@10"],
      "model-index": [{ name: "tiny", results: [{ metrics: [{ type: "R@10", value: 12.5 }] }] }],
    });
    expect(card).toContain("| R@10 | synthetic, test split | 12.50 | 3.20 |");
    expect(card).toContain("seed 7");
  });

  test("quotes what would break its table or its front matter", async () => {
    const name = 'a "b": c\n--- | d';
    await saveCheckpoint(copy, {
      encoder,
      card: { ...TINY_CARD, metrics: [{ name, value: 1, on: "x" }] },
    });
    const card = await readFile(join(copy, "README.md"), "utf8");
    const [, frontMatter = ""] = card.split(/^---$/m);
    expect(parse(frontMatter)).toMatchObject({ metrics: [name] });
    expect(card).toContain('| a "b": c --- \\| d | x | 1.00 |  |');
  });
});

describe("a damaged checkpoint is refused with exit code 5 and the file's name:", () => {
  const files = ["model.safetensors", "config.json", "tokenizer.model"];

  test.each(files)("%s missing", async (file) => {
    await rm(join(copy, file));
    const error = await refusal(copy);
    expect(error.exitCode).toBe(5);
    expect(error.message).toContain(join(copy, file));
    expect(error.next).toBeDefined();
  });

  test.each(files)("%s truncated anywhere", async (file) => {
    const bytes = await readFile(join(good, file));
    for (const length of [0, 1, bytes.length >> 1, bytes.length - 2]) {
      await writeFile(join(copy, file), bytes.subarray(0, length));
      const error = await refusal(copy);
      expect(error.exitCode).toBe(5);
      expect(error.message).toContain(join(copy, file));
    }
  });

  test.each(files)("%s with one bit changed", async (file) => {
    const bytes = await readFile(join(good, file));
    for (let i = 0; i < 40; i++) {
      const bad = Uint8Array.from(bytes);
      const at = Math.floor((i * (bytes.length - 2)) / 40);
      bad[at] = (bad[at] ?? 0) ^ (1 << (i % 7));
      await writeFile(join(copy, file), bad);
      // White space is the one thing in config.json that means nothing.
      if (
        file === "config.json" &&
        JSON.stringify(tryParse(bad)) === JSON.stringify(tryParse(bytes))
      )
        continue;
      const error = await refusal(copy);
      expect(error.exitCode, `byte ${at}`).toBe(5);
      expect(error.message).toContain(join(copy, file));
    }
  });

  test("an unknown key, with the nearest one", async () => {
    await rewriteConfig((config) => {
      config["encoders"] = 1;
    });
    const error = await refusal(copy);
    expect(error.exitCode).toBe(5);
    expect(error.message).toMatch(
      /config\.json: unknown key "encoders" \(did you mean "encoder"\?\)/,
    );
  });

  test("an unknown key inside the encoder", async () => {
    await rewriteConfig((config) => {
      config["encoder"] = { ...TINY_CONFIG, dimensions: 3 };
    });
    const error = await refusal(copy);
    expect(error.exitCode).toBe(5);
    expect(error.message).toMatch(/unknown key "dimensions"/);
  });

  test("a config changed by hand", async () => {
    const path = join(copy, "config.json");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace('"heads": 2', '"heads": 4'));
    expect((await refusal(copy)).message).toMatch(/its digest differs/);
  });

  test("a config for another shape, even when signed", async () => {
    await rewriteConfig((config) => {
      config["encoder"] = { ...TINY_CONFIG, dimension: 64, matryoshka: [64] };
    });
    const error = await refusal(copy);
    expect(error.exitCode).toBe(5);
    expect(error.message).toMatch(/model\.safetensors: .* has shape .*, the architecture needs/);
  });

  test("a weight missing, unknown, or not finite", async () => {
    const name = [...encoder.parameters().keys()][0] ?? "";
    await rewriteTensors((tensors) => tensors.delete(name));
    expect((await refusal(copy)).message).toContain(`"${name}" is missing`);
    await rewriteTensors((tensors) => {
      tensors.set(`${name}x`, { shape: [1], data: Float32Array.of(1) });
    });
    const unknown = await refusal(copy);
    expect(unknown.exitCode).toBe(5);
    expect(unknown.message).toContain(`no parameter "${name}x", the nearest it knows is "${name}"`);
  });

  test("a tokenizer of another version, as refused", async () => {
    await rewriteConfig((config) => {
      config["tokenizers"] = { image: "patches-16/1", text: "sentencepiece-8192/0" };
    });
    const error = await refusal(copy);
    expect(error.code).toBe("TOKENIZER_CHANGED");
  });

  test("a path outside the folder in the list of files", async () => {
    await rewriteConfig((config) => {
      config["files"] = { ...(config["files"] as object), "../x": "0".repeat(64) };
    });
    expect((await refusal(copy)).exitCode).toBe(5);
  });
});

test("loadWeights changes nothing when it refuses", async () => {
  const before = await weightsDigest(encoder);
  const tensors = await readWeights(encoder);
  const last = [...tensors.keys()].at(-1) ?? "";
  for (const { data } of tensors.values()) data.fill(9);
  tensors.get(last)?.data.fill(NaN);
  expect(() => {
    loadWeights(encoder, tensors, "x");
  }).toThrow(/not finite/);
  expect(await weightsDigest(encoder)).toEqual(before);
});

describe("saving", () => {
  const tensors = new Map([["w", { shape: [2], data: Float32Array.of(1, 2) }]]);
  const content = { config: TINY_IMAGE_CONFIG, tensors, card: TINY_CARD };

  test("weights that are not finite are not saved", async () => {
    const bad = new Map([["w", { shape: [1], data: Float32Array.of(Infinity) }]]);
    await expect(writeCheckpoint(copy, { ...content, tensors: bad })).rejects.toThrow(/not finite/);
    expect((await readCheckpoint(copy)).name).toBe("tiny");
  });

  test.each([1, 2, 3])("a disk that is full at file %i leaves the old checkpoint", async (nth) => {
    let count = 0;
    const writeUntilFull = async (path: string, bytes: Uint8Array | string): Promise<void> => {
      if (++count < nth) return writeFile(path, bytes);
      await writeFile(path, bytes.slice(0, 3));
      throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    };
    const failed = writeCheckpoint(copy, content, { writeFile: writeUntilFull });
    await expect(failed).rejects.toMatchObject({ code: "DISK_FULL", exitCode: 7 });
    expect((await readCheckpoint(copy)).name).toBe("tiny");
    expect((await readdir(home)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("a swap that a crash cut in half is finished by the next reader", async () => {
    await rename(copy, join(home, `.${copy.split("/").at(-1) ?? ""}.previous`));
    expect((await readCheckpoint(copy)).name).toBe("tiny");
  });

  test("what a crash left behind is cleaned up by the next writer", async () => {
    const name = copy.split("/").at(-1) ?? "";
    await mkdir(join(home, `.${name}.0123456789ab.tmp`));
    await mkdir(join(home, `.${name}.previous`));
    await writeCheckpoint(copy, content);
    expect((await readdir(home)).filter((entry) => entry.startsWith("."))).toEqual([]);
  });

  test("a writer that is killed at any moment leaves a checkpoint that loads", async () => {
    const program = await transpileSources();
    const script = `
      import { writeCheckpoint } from ${JSON.stringify(join(program, "models", "checkpoint-folder.js"))};
      const tensors = new Map([["w", { shape: [50000], data: new Float32Array(50000).fill(1) }]]);
      const content = { config: ${JSON.stringify(TINY_IMAGE_CONFIG)}, tensors, card: { name: "tiny" } };
      for (;;) { await writeCheckpoint(${JSON.stringify(copy)}, content); process.stdout.write("."); }`;
    const scriptPath = join(home, "writer.mjs");
    await writeFile(scriptPath, script);
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [scriptPath], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await new Promise((resolve) => child.stdout.once("data", resolve));
      await sleep(3 + 7 * round);
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
      expect((await readCheckpoint(copy)).tensors.get("w")?.data.length).toBe(50_000);
    }
    await rm(program, { recursive: true });
  });
});

describe("the path of a checkpoint", () => {
  test("of a run is its best checkpoint, else its last", async () => {
    const run = join(home, "run");
    await cp(good, join(run, "checkpoints", "last"), { recursive: true });
    expect(await resolveCheckpoint(run)).toBe(join(run, "checkpoints", "last"));
    await cp(good, join(run, "checkpoints", "best"), { recursive: true });
    expect(await resolveCheckpoint(run)).toBe(join(run, "checkpoints", "best"));
    expect(await resolveCheckpoint(good)).toBe(good);
  });

  test("that is missing is not found, exit code 3", async () => {
    await expect(resolveCheckpoint(join(home, "nowhere"))).rejects.toMatchObject({ exitCode: 3 });
    await mkdir(join(home, "empty-run", "checkpoints"), { recursive: true });
    await expect(resolveCheckpoint(join(home, "empty-run"))).rejects.toMatchObject({ exitCode: 3 });
  });
});

function tryParse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

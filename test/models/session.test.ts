import fc from "fast-check";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tf } from "../../models/backend.ts";
import { saveCheckpoint } from "../../models/checkpoint.ts";
import { cosine, length } from "../../models/embedding.ts";
import { EncoderSession, paddedSize, paddedUnits, planBatches } from "../../models/session.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { encodePng } from "../../tokenizers/image/decode.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { MaskedTokens } from "../../tokenizers/tokenizer.ts";
import { TINY_CARD, TINY_CONFIG, TINY_IMAGE_CONFIG } from "../support/tiny-encoder.ts";

let home: string;
let session: EncoderSession;
let picture: Uint8Array;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "soma-session-"));
  const encoder = await randomEncoder();
  await saveCheckpoint(home, { encoder, card: TINY_CARD });
  encoder.dispose();
  session = await EncoderSession.open(home);
  picture = await encodePng({
    width: 64,
    height: 64,
    pixels: Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7) % 256),
  });
});

afterAll(async () => {
  session.dispose();
  await rm(home, { recursive: true, force: true });
});

async function randomEncoder(): Promise<TransformerEncoder> {
  const { startBackend } = await import("../../models/backend.ts");
  await startBackend();
  return new TransformerEncoder(TINY_CONFIG, seededRng(7, "weights"));
}

function idsInput(...ids: readonly number[]): MaskedTokens {
  return { tokens: { kind: "ids", modality: "text", ids: Int32Array.from(ids) } };
}

/** Described by numbers, so that a counterexample is printed in one line. */
interface Recipe {
  readonly kind: "ids" | "patches";
  readonly columns: number;
  readonly rows: number;
  readonly fill: number;
}
const recipe: fc.Arbitrary<Recipe> = fc.record({
  kind: fc.constantFrom("ids", "patches"),
  columns: fc.integer({ min: 1, max: 4 }),
  rows: fc.integer({ min: 1, max: 4 }),
  fill: fc.nat(255),
});
const recipes = fc.array(recipe, { maxLength: 40 });

function inputOf({ kind, columns, rows, fill }: Recipe): MaskedTokens {
  if (kind === "ids") {
    return idsInput(...Array.from({ length: columns * rows }, (_, i) => (fill + 31 * i) % 8192));
  }
  const patches = Uint8Array.from({ length: columns * rows * 768 }, (_, i) => (fill + i) % 256);
  const grid = { columns, rows, times: 1 };
  return { tokens: { kind: "patches", modality: "image", patches, patchBytes: 768, grid } };
}

describe("batches", () => {
  test("hold every input once, one kind each, within the budget once padded", () => {
    fc.assert(
      fc.property(recipes, fc.integer({ min: 16, max: 200 }), (list, budget) => {
        const batches = planBatches(list.map(inputOf), budget);
        expect(batches.flat().sort((a, b) => a - b)).toEqual(list.map((_, i) => i));
        for (const batch of batches) {
          const members = batch.map((position) => list[position]);
          expect(new Set(members.map((member) => member?.kind)).size).toBe(1);
          const units = members.map((member) =>
            paddedUnits((member?.columns ?? 0) * (member?.rows ?? 0)),
          );
          expect(batch.length * Math.max(...units)).toBeLessThanOrEqual(budget);
        }
      }),
    );
  });

  test("an input over the budget has a batch of its own", () => {
    const long = idsInput(...new Array<number>(50).fill(1));
    expect(planBatches([long, idsInput(1), long], 10)).toEqual([[1], [0], [2]]);
  });

  test("come in few shapes: lengths and sizes are rounded up, by less than half", () => {
    const sizes = Array.from({ length: 512 }, (_, i) => paddedSize(i + 1));
    sizes.forEach((padded, i) => {
      expect(padded).toBeGreaterThanOrEqual(i + 1);
      expect(padded / (i + 1)).toBeLessThan(1.5);
    });
    expect([...new Set(sizes)].slice(0, 9)).toEqual([1, 2, 3, 4, 6, 8, 12, 16, 24]);
    expect(new Set(sizes).size).toBe(18);
    expect([1, 8, 9, 196].map(paddedUnits)).toEqual([8, 8, 16, 200]);
  });
});

describe("a session", () => {
  test("gives each input the embedding it has alone, in order, however they are batched", async () => {
    await fc.assert(
      fc.asyncProperty(recipes, async (described) => {
        const list = described.map(inputOf);
        const together = await session.embed(list);
        expect(together).toHaveLength(list.length);
        for (const [i, input] of list.entries()) {
          const [alone] = await session.embed([input]);
          const difference = Math.max(
            ...(alone ?? []).map((value, d) => Math.abs(value - (together[i]?.[d] ?? NaN))),
          );
          expect(difference).toBeLessThan(1e-4);
        }
      }),
      { numRuns: 5 },
    );
  });

  test("embeds texts and pictures into one space, at length 1", async () => {
    const [text] = await session.embedTexts(["a cat"]);
    const [image] = await session.embedImages([picture]);
    for (const embedding of [text, image]) {
      expect(embedding).toHaveLength(32);
      expect(length(embedding ?? new Float32Array(0))).toBeCloseTo(1, 5);
    }
    expect(session.modalities).toEqual(["image", "text"]);
  });

  test("a Matryoshka cut is the prefix, scaled to length 1 again", async () => {
    const [full = new Float32Array(0)] = await session.embedTexts(["a cat"]);
    const [cut = new Float32Array(0)] = await session.embedTexts(["a cat"], { dimension: 8 });
    expect(cut).toHaveLength(8);
    expect(length(cut)).toBeCloseTo(1, 5);
    expect(cosine(cut, full.slice(0, 8))).toBeCloseTo(1, 5);
    const [raw = new Float32Array(0)] = await session.embedTexts(["a cat"], { normalize: false });
    expect(length(raw)).not.toBeCloseTo(1, 3);
    expect(cosine(raw, full)).toBeCloseTo(1, 5);
  });

  test("cuts a text to what the encoder reads", async () => {
    const long = "word ".repeat(1000);
    expect(session.tokenizeText(long).ids).toHaveLength(64);
    expect(await session.embedTexts([long])).toHaveLength(1);
  });

  test.each<[string, (s: EncoderSession) => Promise<unknown>, string]>([
    ["a dimension that is no cut", (s) => s.embedTexts(["a"], { dimension: 9 }), "BAD_DIMENSION"],
    ["an empty text", (s) => s.embedTexts([""]), "EMPTY_TEXT"],
    ["spaces and line ends", (s) => s.embedTexts([" \n\u00a0"]), "EMPTY_TEXT"],
    ["control characters", (s) => s.embedTexts(["\u0000\u001b\u200d"]), "EMPTY_TEXT"],
    ["a text over 1 MiB", (s) => s.embedTexts(["a".repeat(2 ** 20 + 1)]), "TEXT_TOO_LARGE"],
    ["a token outside the vocabulary", (s) => s.embed([idsInput(8192)]), "BAD_TOKENS"],
    ["a negative token", (s) => s.embed([idsInput(1, -1)]), "BAD_TOKENS"],
    ["no token at all", (s) => s.embed([idsInput()]), "BAD_TOKENS"],
    ["too many tokens", (s) => s.embed([idsInput(...new Array<number>(65).fill(1))]), "BAD_TOKENS"],
    ["a picture that is none", (s) => s.embedImages([Uint8Array.of(1, 2, 3)]), "UNSUPPORTED_IMAGE"],
  ])("refuses %s", async (_, work, code) => {
    await expect(work(session)).rejects.toMatchObject({ code });
  });

  test("refuses what it has no tower for", async () => {
    const encoder = new TransformerEncoder(TINY_IMAGE_CONFIG, seededRng(1, "weights"));
    const blind = await EncoderSession.over(encoder);
    expect(blind.modalities).toEqual(["image"]);
    await expect(blind.embedTexts(["a"])).rejects.toMatchObject({ code: "MODALITY_NOT_TRAINED" });
    await expect(blind.embed([idsInput(1)])).rejects.toMatchObject({
      code: "MODALITY_NOT_TRAINED",
    });
    encoder.dispose();
  });

  test("leaks neither tensors nor memory over many calls, also when they overlap or fail", async () => {
    const call = async (i: number): Promise<void> => {
      await Promise.all([
        session.embedTexts([`text ${i}`, "another"]),
        session.embedImages([picture]),
        session.embedTexts(["fails"], { dimension: 9 }).catch(() => undefined),
      ]);
    };
    for (let i = 0; i < 50; i++) await call(i);
    const tensors = tf.memory().numTensors;
    const rssStart = process.memoryUsage.rss();
    for (let i = 0; i < 300; i++) await call(i);
    expect(tf.memory().numTensors).toBe(tensors);
    expect(process.memoryUsage.rss() - rssStart).toBeLessThan(60 * 1024 * 1024);
  });

  test("opening and disposing leaks no tensor, nor does opening what is damaged", async () => {
    const tensors = tf.memory().numTensors;
    const second = await EncoderSession.open(home);
    second.dispose();
    await expect(EncoderSession.open(join(home, "nowhere"))).rejects.toMatchObject({ exitCode: 3 });
    expect(tf.memory().numTensors).toBe(tensors);
  });
});

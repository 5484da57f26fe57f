/**
 * Vectors computed by an independent program from the protocol page (hash, draws, samples, unit counts,
 * masks) and our own golden ones of the edges: both files must hold here, and in test/vectors/twin.py.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fromHex, taggedHash, toHex } from "../../tokenizers/hash.ts";
import { drawMasks } from "../../tokenizers/mask.ts";
import type { Modality } from "../../tokenizers/modality.ts";
import { Rng } from "../../tokenizers/random.ts";
import { audioUnits, imageGrid, videoFrames, videoGrid } from "../../tokenizers/units.ts";

/** The layout of both files. Bounds and draws are decimal strings: they may pass 2^53. */
interface Vectors {
  readonly hash: readonly { tag: string; parts: string; digest: string }[];
  readonly uniform: readonly { seed: string; bound: string; draws: string[] }[];
  readonly sample: readonly { seed: string; n: number; k: number; sample: number[] }[];
  readonly image: readonly { W: number; H: number; width: number; height: number; units: number }[];
  readonly video: readonly {
    F: number;
    W: number;
    H: number;
    frames: number[];
    width: number;
    height: number;
    units: number;
  }[];
  readonly audio: readonly { samples: number; rate: number; units: number }[];
  readonly masks: readonly {
    modality: Modality;
    units: number;
    digest: string;
    dataHash: string;
    item: number;
    M: number;
    masks: number[][];
  }[];
}

describe.each(["tokens-and-masks.json", "golden-tokens-and-masks.json"])("%s", (name) => {
  const url = new URL(`../vectors/${name}`, import.meta.url);
  const vectors = JSON.parse(readFileSync(url, "utf8")) as Vectors;

  test("a tagged hash is SHA-256 of its tag, a zero byte and its parts", () => {
    for (const { tag, parts, digest } of nonEmpty(vectors.hash)) {
      expect(toHex(taggedHash(tag, bytes(parts)))).toBe(digest);
    }
  });

  test("uniform draws reject the words past the last whole multiple of the bound", () => {
    for (const { seed, bound, draws } of nonEmpty(vectors.uniform)) {
      const rng = new Rng(bytes(seed));
      expect(draws.map(() => rng.uniformBig(BigInt(bound)).toString())).toEqual(draws);
    }
  });

  test("a sample is the head of a partial Fisher–Yates shuffle", () => {
    for (const { seed, n, k, sample } of nonEmpty(vectors.sample)) {
      expect(Array.from(new Rng(bytes(seed)).sample(n, k))).toEqual(sample);
    }
  });

  test("a picture has the grid nearest to its size, under the cap", () => {
    for (const { W, H, width, height, units } of nonEmpty(vectors.image)) {
      const { columns, rows } = imageGrid(W, H);
      expect({ W, H, width: 16 * columns, height: 16 * rows, units: columns * rows }).toEqual({
        W,
        H,
        width,
        height,
        units,
      });
    }
  });

  test("a clip keeps at most 16 frames, an even number, evenly chosen", () => {
    for (const { F, W, H, frames, width, height, units } of nonEmpty(vectors.video)) {
      expect(videoFrames(F)).toEqual(frames);
      const { columns, rows, times } = videoGrid(F, W, H);
      expect([16 * columns, 16 * rows, columns * rows * times]).toEqual([width, height, units]);
    }
  });

  test("a recording has 8 units for each whole 160 ms of its first 10 s", () => {
    for (const { samples, rate, units } of nonEmpty(vectors.audio)) {
      expect({ samples, rate, units: audioUnits(samples, rate) }).toEqual({ samples, rate, units });
    }
  });

  test("masks are the ones every encoder must derive", () => {
    for (const item of nonEmpty(vectors.masks)) {
      const masks = drawMasks({
        modality: item.modality,
        units: item.units,
        digest: bytes(item.digest),
        dataHash: bytes(item.dataHash),
        itemIndex: item.item,
        count: item.M,
      });
      expect(masks.map((mask) => Array.from(mask.hidden))).toEqual(item.masks);
    }
  });
});

function bytes(hex: string): Uint8Array {
  const result = fromHex(hex);
  if (result === undefined) throw new Error(`vector holds bad hex ${hex}`);
  return result;
}

/** A vector file that lost a section must not pass in silence. */
function nonEmpty<T>(items: readonly T[]): readonly T[] {
  expect(items.length).toBeGreaterThan(0);
  return items;
}

/** The layout of vectors of hashes, draws, unit counts and masks, and how each sort is held against our code. */
import { expect } from "vitest";
import { fromHex, taggedHash, toHex } from "../../tokenizers/hash.ts";
import { drawMasks } from "../../tokenizers/mask.ts";
import type { Modality } from "../../tokenizers/modality.ts";
import { Rng } from "../../tokenizers/random.ts";
import { audioUnits, imageGrid, videoFrames, videoGrid } from "../../tokenizers/units.ts";

/** Bounds and draws are decimal strings: they may pass 2^53. Letters are the protocol's. */
export interface Vectors {
  readonly hash: readonly { tag: string; parts: string; digest: string }[];
  readonly uniform: readonly { seed: string; bound: string; draws: string[] }[];
  readonly sample: readonly { seed: string; n: number; k: number; sample: number[] }[];
  readonly image: readonly (Size & { W: number; H: number })[];
  readonly video: readonly (Size & { F: number; W: number; H: number; frames: number[] })[];
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

interface Size {
  readonly width: number;
  readonly height: number;
  readonly units: number;
}

/** For each sort: fails unless there are cases, and our answer is theirs in each. */
export const agreesWith: { readonly [S in keyof Vectors]: (vectors: Vectors) => void } = {
  hash(vectors) {
    for (const { tag, parts, digest } of nonEmpty(vectors.hash)) {
      expect(toHex(taggedHash(tag, bytes(parts)))).toBe(digest);
    }
  },

  uniform(vectors) {
    for (const { seed, bound, draws } of nonEmpty(vectors.uniform)) {
      const rng = new Rng(bytes(seed));
      expect(draws.map(() => rng.uniformBig(BigInt(bound)).toString())).toEqual(draws);
      if (BigInt(bound) > 2n ** 32n) continue;
      const same = new Rng(bytes(seed));
      expect(draws.map(() => `${same.uniform(Number(bound))}`)).toEqual(draws);
    }
  },

  sample(vectors) {
    for (const { seed, n, k, sample } of nonEmpty(vectors.sample)) {
      expect(Array.from(new Rng(bytes(seed)).sample(n, k))).toEqual(sample);
    }
  },

  image(vectors) {
    for (const { W, H, width, height, units } of nonEmpty(vectors.image)) {
      const { columns, rows } = imageGrid(W, H);
      const ours = { W, H, width: 16 * columns, height: 16 * rows, units: columns * rows };
      expect(ours).toEqual({ W, H, width, height, units });
    }
  },

  video(vectors) {
    for (const { F, W, H, frames, width, height, units } of nonEmpty(vectors.video)) {
      const { columns, rows, times } = videoGrid(F, W, H);
      const ours = { width: 16 * columns, height: 16 * rows, units: columns * rows * times };
      expect({ F, W, H, ...ours }).toEqual({ F, W, H, width, height, units });
      expect(videoFrames(F)).toEqual(frames);
    }
  },

  audio(vectors) {
    for (const { samples, rate, units } of nonEmpty(vectors.audio)) {
      expect({ samples, rate, units: audioUnits(samples, rate) }).toEqual({ samples, rate, units });
    }
  },

  masks(vectors) {
    for (const { modality, units, digest, dataHash, item, M, masks } of nonEmpty(vectors.masks)) {
      const ours = drawMasks({
        modality,
        units,
        digest: bytes(digest),
        dataHash: bytes(dataHash),
        itemIndex: item,
        count: M,
      });
      expect(ours.map((mask) => Array.from(mask.hidden))).toEqual(masks);
    }
  },
};

function bytes(hex: string): Uint8Array {
  const result = fromHex(hex);
  if (result === undefined) throw new Error(`vector holds bad hex ${hex}`);
  return result;
}

/** A file that lost a section must not pass in silence. */
function nonEmpty<T>(items: readonly T[]): readonly T[] {
  expect(items.length).toBeGreaterThan(0);
  return items;
}

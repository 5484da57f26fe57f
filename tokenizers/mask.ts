/**
 * Which units of an input an encoder must tell apart: masks over token positions, the same for every
 * encoder of a shard, drawn from seeds that nobody can choose.
 * Source: seed "Enshrined Network Masking"; protocol part 2. Pure: no clock, disk or library.
 */
import { assert, InvariantError, SomaError } from "../base/errors.ts";
import { taggedHash, u32 } from "./hash.ts";
import { MODALITIES, type Modality } from "./modality.ts";
import { Rng } from "./random.ts";
import type { MaskedTokens, TokenSequence } from "./tokenizer.ts";

/** Masks of one datum at most. */
export const MASKS_MAX = 16;
/** Masks of one datum unless asked otherwise. */
export const MASKS_DEFAULT = 4;

/**
 * Draws for one mask at most. With at most 16 wanted, a draw is new with probability ≥ 1/16, so that this
 * many repeats in a row (chance below 10^−280) mean a broken generator.
 */
const REDRAWS_MAX = 10_000;

/** A share of units: numerator / denominator, both positive integers, at most 1. */
export interface Ratio {
  readonly numerator: number;
  readonly denominator: number;
}

/**
 * The drawn positions D of one mask: the only units that view mask_j shows, and the ones hidden from view
 * inverse_j.
 */
export interface Mask {
  /** Units of the whole sequence. */
  readonly length: number;
  /** Uint32Array [1 … length − 1], ascending, each position once. */
  readonly hidden: Uint32Array;
}

/** How many of `length` units a mask draws: length × ratio rounded half up, at least 1, at most length − 1. */
export function maskSize(length: number, ratio: Ratio): number {
  const { numerator, denominator } = ratio;
  const rounded = Math.floor((2 * numerator * length + denominator) / (2 * denominator));
  return Math.min(Math.max(rounded, 1), length - 1);
}

/** One mask. Reads `rng` for exactly one sample. @param length units, ≥ 2 */
export function drawMask(length: number, ratio: Ratio, rng: Rng): Mask {
  assert(Number.isInteger(length) && length >= 2, `cannot mask ${length} units`);
  const hidden = rng.sample(length, maskSize(length, ratio)).sort((a, b) => a - b);
  return { length, hidden };
}

/** The mask of all other positions. */
export function invert(mask: Mask): Mask {
  const others = new Uint32Array(mask.length - mask.hidden.length);
  let next = 0; // next entry of mask.hidden to pass
  let count = 0;
  for (let position = 0; position < mask.length; position++) {
    if (mask.hidden[next] === position) next++;
    else others[count++] = position;
  }
  return { length: mask.length, hidden: others };
}

export interface MaskRequest {
  readonly modality: Modality;
  /** Units of the sequence, ≥ 2; the network itself refuses fewer than 8 (`assertUnits`). */
  readonly units: number;
  /** 32 bytes: the leader block of the last commit of the epoch before; the genesis digest in epoch 0. */
  readonly digest: Uint8Array;
  /** 32 bytes: the hash of the datum. */
  readonly dataHash: Uint8Array;
  /** Place of the datum in its batch, u32; 0 for a single one. */
  readonly itemIndex: number;
  /** Masks wanted, 1 … 16. */
  readonly count: number;
}

/**
 * The masks of one datum, j = 0, 1, …, distinct as sets. Mask j comes from its own stream, seed
 * H("mask", digest, data hash, item index, j); if it equals an earlier one, a whole new sample is drawn
 * from the same stream. Where fewer than `count` distinct sets exist, all of them are returned.
 * @throws SomaError BAD_MASK_COUNT (usage); InvariantError for seeds or sizes no door should let through
 */
export function drawMasks(request: MaskRequest): readonly Mask[] {
  const { modality, units, digest, dataHash, itemIndex, count } = request;
  if (!Number.isInteger(count) || count < 1 || count > MASKS_MAX) {
    throw new SomaError({
      code: "BAD_MASK_COUNT",
      kind: "usage",
      what: `${count} masks were asked for`,
      next: `ask for 1 to ${MASKS_MAX}`,
    });
  }
  assert(digest.length === 32, `a digest has 32 bytes, not ${digest.length}`);
  assert(dataHash.length === 32, `a data hash has 32 bytes, not ${dataHash.length}`);
  const ratio = MODALITIES[modality].maskRatio;
  const distinct = subsetCount(units, maskSize(units, ratio), count);
  const masks: Mask[] = [];
  for (let j = 0; j < distinct; j++) {
    const rng = new Rng(taggedHash("mask", digest, dataHash, u32(itemIndex), u32(j)));
    masks.push(drawNewMask(units, ratio, rng, masks));
  }
  return masks;
}

/** An encoder's 1 + 2M views of one input, in protocol order. Positions are kept: only visibility differs. */
export interface MaskedViews {
  /** All units. */
  readonly full: MaskedTokens;
  /** Per mask: the drawn units alone, and all others alone. */
  readonly pairs: readonly { readonly mask: MaskedTokens; readonly inverse: MaskedTokens }[];
}

/** The views of `tokens` under `masks`; the tokens are shared, not copied. */
export function maskedViews(tokens: TokenSequence, masks: readonly Mask[]): MaskedViews {
  return {
    full: { tokens },
    pairs: masks.map((mask) => ({
      mask: { tokens, visible: mask.hidden },
      inverse: { tokens, visible: invert(mask).hidden },
    })),
  };
}

function drawNewMask(length: number, ratio: Ratio, rng: Rng, earlier: readonly Mask[]): Mask {
  for (let draw = 0; draw < REDRAWS_MAX; draw++) {
    const mask = drawMask(length, ratio, rng);
    if (!earlier.some((other) => sameSet(other.hidden, mask.hidden))) return mask;
  }
  throw new InvariantError(`${REDRAWS_MAX} draws gave no new mask of ${length} units`);
}

/** Both are ascending, so equal sets are equal sequences. */
function sameSet(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((position, i) => position === b[i]);
}

/**
 * min(n choose k, limit), exact. The running product is itself a binomial coefficient, so every division
 * is exact; it only grows while i ≤ n/2, so passing the limit once settles it, long before 2^53.
 */
function subsetCount(n: number, k: number, limit: number): number {
  const smaller = Math.min(k, n - k);
  let subsets = 1;
  for (let i = 0; i < smaller && subsets < limit; i++) subsets = (subsets * (n - i)) / (i + 1);
  return Math.min(subsets, limit);
}

/**
 * Differential loss: how far an encoder's view of an input is from the sum of its views of two complementary
 * parts. Zero for any encoder that adds up contributions of single units, so it rewards additivity, not
 * meaning: read it only beside retrieval and probes. Source: seed "Differential Loss"; guides "training" 1.4.
 */
import { assert } from "../../base/errors.ts";
import type { Encoder } from "../../models/encoder.ts";
import { sha256, taggedHash } from "../../tokenizers/hash.ts";
import { drawMasks, MASKS_DEFAULT, maskedViews } from "../../tokenizers/mask.ts";
import { unitCount, type MaskedTokens, type TokenSequence } from "../../tokenizers/tokenizer.ts";
import { columnMeans } from "./gram.ts";
import { denseMatrix, prefix, rowOf, type DenseMatrix } from "./matrix.ts";

export interface DifferentialLoss {
  /** mean ‖f − a − b‖² / mean ‖f‖² over all inputs and masks; 0 = additive. */
  readonly raw: number;
  /** The same with the mean of f, of a and of b taken off first: a constant part can neither help nor hurt. */
  readonly centred: number;
}

/** Embeddings of n views in three aligned matrices, not normalised: row i belongs to one input and one mask. */
export interface DifferentialViews {
  readonly full: DenseMatrix;
  readonly masked: DenseMatrix;
  readonly inverse: DenseMatrix;
}

/**
 * Embed every input whole, and each of its masks' two sides, M = 4 masks at the network's ratio of its
 * modality. The masks are those of the protocol under a fixed digest, so every evaluation sees the same.
 * Inputs of one unit cannot be masked and are left out.
 */
export async function embedViews(
  encoder: Encoder,
  inputs: readonly TokenSequence[],
): Promise<DifferentialViews> {
  const digest = taggedHash("evaluation");
  const queue: MaskedTokens[] = [];
  const places: { full: number; masked: number; inverse: number }[] = [];
  for (const tokens of inputs) {
    if (unitCount(tokens) < 2) continue;
    const masks = drawMasks({
      modality: tokens.modality,
      units: unitCount(tokens),
      digest,
      dataHash: contentHash(tokens),
      itemIndex: 0,
      count: MASKS_DEFAULT,
    });
    const views = maskedViews(tokens, masks);
    const full = queue.push(views.full) - 1;
    for (const { mask, inverse } of views.pairs) {
      places.push({ full, masked: queue.push(mask) - 1, inverse: queue.push(inverse) - 1 });
    }
  }
  const embeddings = await encoder.embed(queue);
  const gather = (side: "full" | "masked" | "inverse"): DenseMatrix =>
    denseMatrix(
      places.map((place) => embeddings[place[side]] ?? new Float32Array()),
      encoder.dimension,
    );
  return { full: gather("full"), masked: gather("masked"), inverse: gather("inverse") };
}

/** The loss of the first `cut` dimensions. @returns undefined without views or where all of f is 0 */
export function differentialLoss(
  views: DifferentialViews,
  cut: number,
): DifferentialLoss | undefined {
  const full = prefix(views.full, cut);
  const masked = prefix(views.masked, cut);
  const inverse = prefix(views.inverse, cut);
  assert(full.count === masked.count, "a masked view per full one");
  assert(full.count === inverse.count, "an inverse view per full one");
  const zeros = new Float64Array(cut);
  const raw = ratio(full, masked, inverse, [zeros, zeros, zeros]);
  const centred = ratio(full, masked, inverse, [
    columnMeans(full),
    columnMeans(masked),
    columnMeans(inverse),
  ]);
  return raw === undefined || centred === undefined ? undefined : { raw, centred };
}

/** Σ ‖(f − f̄) − (a − ā) − (b − b̄)‖² / Σ ‖f − f̄‖²; undefined if the divisor is 0. */
function ratio(
  full: DenseMatrix,
  masked: DenseMatrix,
  inverse: DenseMatrix,
  [fullMean, maskedMean, inverseMean]: readonly [Float64Array, Float64Array, Float64Array],
): number | undefined {
  let residual = 0;
  let size = 0;
  for (let i = 0; i < full.count; i++) {
    const f = rowOf(full, i);
    const a = rowOf(masked, i);
    const b = rowOf(inverse, i);
    for (let k = 0; k < f.length; k++) {
      const whole = (f[k] ?? 0) - (fullMean[k] ?? 0);
      const parts = (a[k] ?? 0) - (maskedMean[k] ?? 0) + (b[k] ?? 0) - (inverseMean[k] ?? 0);
      residual += (whole - parts) ** 2;
      size += whole ** 2;
    }
  }
  return size > 0 ? residual / size : undefined;
}

/** SHA-256 of the units' bytes: what stands for the datum in the seed of its masks. */
function contentHash(tokens: TokenSequence): Uint8Array {
  if (tokens.kind === "patches") return sha256(tokens.patches);
  const bytes = new Uint8Array(4 * tokens.ids.length);
  const view = new DataView(bytes.buffer);
  tokens.ids.forEach((id, i) => {
    view.setInt32(4 * i, id, true);
  });
  return sha256(bytes);
}

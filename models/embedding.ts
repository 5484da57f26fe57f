/** Arithmetic on embeddings in plain memory: the Matryoshka cut, length and cosine. */
import { assert, SomaError } from "../base/errors.ts";
import type { EncoderConfig } from "./config.ts";
import type { Embedding } from "./encoder.ts";

export interface EmbedOptions {
  /** Keep the first `dimension` values; one of the encoder's Matryoshka cuts. Default: all. */
  readonly dimension?: number;
  /** Scale to length 1 (after the cut). Default: true. */
  readonly normalize?: boolean;
}

/**
 * A new embedding: the prefix of `embedding`, scaled to length 1 unless asked otherwise. The zero vector stays.
 * @throws SomaError NOT_FINITE (failure) if the embedding holds NaN or infinity
 */
export function cutEmbedding(
  embedding: Embedding,
  { dimension = embedding.length, normalize = true }: EmbedOptions,
): Embedding {
  assert(dimension <= embedding.length, `a prefix of ${dimension} of ${embedding.length} values`);
  const cut = embedding.slice(0, dimension);
  const norm = length(cut);
  if (!Number.isFinite(norm)) {
    throw new SomaError({
      code: "NOT_FINITE",
      kind: "failure",
      what: "the encoder gave an embedding that is not finite",
      next: "use another checkpoint: the weights of this one have diverged",
    });
  }
  if (normalize && norm > 0) for (let i = 0; i < cut.length; i++) cut[i] = (cut[i] ?? 0) / norm;
  return cut;
}

/** @throws SomaError BAD_DIMENSION (usage) unless `dimension` is a cut that the encoder was trained for */
export function assertCut(config: EncoderConfig, dimension: number): void {
  if (dimension === config.dimension || config.matryoshka.includes(dimension)) return;
  throw new SomaError({
    code: "BAD_DIMENSION",
    kind: "usage",
    what: `this encoder has no embeddings of ${dimension} dimensions`,
    next: `ask for one of ${[...new Set([...config.matryoshka, config.dimension])].join(", ")}`,
  });
}

/** Cosine of the angle between two embeddings of one length, in −1 … 1; 0 if either is the zero vector. */
export function cosine(a: Embedding, b: Embedding): number {
  const norms = length(a) * length(b);
  return norms === 0 ? 0 : Math.max(-1, Math.min(1, dot(a, b) / norms));
}

export function dot(a: Embedding, b: Embedding): number {
  assert(a.length === b.length, `embeddings of ${a.length} and ${b.length} values`);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** Euclidean length. */
export function length(a: Embedding): number {
  return Math.sqrt(dot(a, a));
}

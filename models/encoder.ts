/** An encoder maps token sequences to points of one shared space. */
import type { MaskedTokens } from "../tokenizers/tokenizer.ts";

/** Float32Array [dimension]. A prefix at a Matryoshka cut is an embedding too, once normalised again. */
export type Embedding = Float32Array;

export interface Encoder {
  readonly dimension: number;
  /** One embedding per input, in order. Inputs may mix kinds. Not normalised: length carries meaning for differential loss. */
  embed(inputs: readonly MaskedTokens[]): Promise<readonly Embedding[]>;
}

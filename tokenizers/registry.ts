/** Modality → tokenizer in force, one line each. A tokenizer is loaded when it is first asked for. */
import { SomaError } from "../base/errors.ts";
import type { Modality } from "./modality.ts";
import type { Image, Tokenizer } from "./tokenizer.ts";

/** What each modality's bytes decode to. */
export interface DecodedInputs {
  readonly text: string;
  readonly image: Image;
}

/** Modalities that can be tokenized today; masks and unit counts are fixed for all four. */
export type TokenizedModality = keyof DecodedInputs;

const TOKENIZERS: {
  readonly [M in TokenizedModality]: () => Promise<Tokenizer<DecodedInputs[M]>>;
} = {
  text: async () => (await import("./text/sentencepiece.ts")).loadTextTokenizer(),
  image: async () => (await import("./image/patches.ts")).imageTokenizer,
};

export const TOKENIZED_MODALITIES = Object.keys(TOKENIZERS) as readonly TokenizedModality[];

/** The tokenizer of `modality`. @throws SomaError as its loader does (a missing or changed model file) */
export async function loadTokenizer<M extends TokenizedModality>(
  modality: M,
): Promise<Tokenizer<DecodedInputs[M]>> {
  return TOKENIZERS[modality]();
}

/** `modality`, if there is a tokenizer for it. @throws SomaError NO_TOKENIZER (usage) */
export function tokenizedModality(modality: Modality): TokenizedModality {
  const known = TOKENIZED_MODALITIES.find((name) => name === modality);
  if (known !== undefined) return known;
  throw new SomaError({
    code: "NO_TOKENIZER",
    kind: "usage",
    what: `there is no tokenizer for ${modality} yet`,
    next: `choose one of ${TOKENIZED_MODALITIES.join(", ")}`,
  });
}

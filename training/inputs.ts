/** Examples as the encoder reads them, in the modalities that it has a tower for. */
import type { Example } from "../datasets/dataset.ts";
import type { ImageStore } from "../datasets/image-store.ts";
import { readValues } from "../models/backend.ts";
import { packTokens } from "../models/batch.ts";
import type { EncoderConfig } from "../models/config.ts";
import type { TransformerEncoder } from "../models/transformer.ts";
import { patchify } from "../tokenizers/image/patches.ts";
import { unitCount, type MaskedTokens, type Tokenizer } from "../tokenizers/tokenizer.ts";

/** What training reads. Both are closed and owned by the experiment. */
export interface Sources {
  /** Pictures; undefined if the encoder has no image tower. */
  readonly images: Pick<ImageStore, "has" | "get"> | undefined;
  /** Undefined if the encoder has no text tower. */
  readonly tokenizer: Pick<Tokenizer<string>, "tokenize"> | undefined;
}

export interface ExampleInput {
  readonly example: Example;
  readonly modality: "image" | "text";
  readonly input: MaskedTokens;
}

/** The inputs of one example: none, one, or both of its text and its picture. */
export function inputsOf(
  example: Example,
  sources: Sources,
  config: EncoderConfig,
): readonly ExampleInput[] {
  const inputs: ExampleInput[] = [];
  if (example.image !== undefined && sources.images?.has(example.id) === true) {
    const tokens = patchify(sources.images.get(example.id));
    inputs.push({ example, modality: "image", input: { tokens } });
  }
  if (example.text !== undefined && sources.tokenizer !== undefined && config.text !== undefined) {
    const tokens = cut(sources.tokenizer.tokenize(example.text), config.text.maxTokens);
    // A text of spaces alone has no tokens and says nothing.
    if (unitCount(tokens) > 0) inputs.push({ example, modality: "text", input: { tokens } });
  }
  return inputs;
}

function cut(tokens: MaskedTokens["tokens"], unitsMax: number): MaskedTokens["tokens"] {
  if (tokens.kind !== "ids" || tokens.ids.length <= unitsMax) return tokens;
  return { ...tokens, ids: tokens.ids.subarray(0, unitsMax) };
}

/** Sequences embedded in one forward pass. */
const EMBED_BATCH = 128;

/**
 * Embeddings in the order of `inputs`, not normalised. Sequences of like length share a batch, so that little is
 * computed on padding. Synchronous: for the few hundred inputs of a validation.
 */
export function embedInputs(
  encoder: TransformerEncoder,
  inputs: readonly MaskedTokens[],
): readonly Float32Array[] {
  const rows = new Array<Float32Array>(inputs.length);
  const order = inputs
    .map((input, index) => ({ input, index, units: unitCount(input.tokens) }))
    .sort((a, b) => a.input.tokens.kind.localeCompare(b.input.tokens.kind) || a.units - b.units);
  let start = 0;
  while (start < order.length) {
    const kind = order[start]?.input.tokens.kind;
    let end = start;
    while (
      end < order.length &&
      end - start < EMBED_BATCH &&
      order[end]?.input.tokens.kind === kind
    )
      end++;
    const batch = order.slice(start, end);
    const values = readValues(() => encoder.forward(packTokens(batch.map(({ input }) => input))));
    const dimension = values.length / batch.length;
    batch.forEach(({ index }, b) => {
      rows[index] = values.slice(b * dimension, (b + 1) * dimension);
    });
    start = end;
  }
  return rows;
}

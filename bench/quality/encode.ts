/** A selection as an encoder sees it: embeddings of its rows, of the class names, and of masked views. */
import { assert, SomaError } from "../../base/errors.ts";
import type { ImageStore } from "../../datasets/image-store.ts";
import { labelText } from "../../datasets/label-text.ts";
import type { EncoderSession } from "../../models/session.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import type { TokenSequence } from "../../tokenizers/tokenizer.ts";
import { embedViews } from "./differential.ts";
import { denseMatrix, type DenseMatrix } from "./matrix.ts";
import type { Space, SpaceKind } from "./measure.ts";
import type { JudgedModality, Row, Selection } from "./selection.ts";

/** Test rows whose differential loss is taken, at most: each is embedded nine times. The first are a fair sample. */
export const DIFFERENTIAL_ROWS_MAX = 192;

/** What of a session is used, so that a test may bring its own encoder. */
export type JudgedEncoder = Pick<
  EncoderSession,
  "embed" | "dimension" | "config" | "modalities" | "tokenizeText"
>;

export interface EncodeOptions {
  readonly name: string;
  readonly kind: SpaceKind;
  /** Pictures of all selected rows. */
  readonly images: Pick<ImageStore, "get"> | undefined;
  /** Called before each set of rows, for progress. */
  readonly onStage?: (stage: string) => void;
}

/** Embed every row of the selection, in modalities that the encoder reads. */
export async function encodeSelection(
  encoder: JudgedEncoder,
  selection: Selection,
  options: EncodeOptions,
): Promise<Space> {
  const tokensOf = (modality: JudgedModality, rows: readonly Row[]): TokenSequence[] =>
    rows.map((row) => {
      if (modality === "text") return textTokens(encoder, row);
      assert(options.images !== undefined, "pictures of the selected rows are loaded");
      return patchify(options.images.get(row.example.id));
    });
  const embed = async (tokens: readonly TokenSequence[]): Promise<DenseMatrix> =>
    denseMatrix(
      await encoder.embed(tokens.map((sequence) => ({ tokens: sequence }))),
      encoder.dimension,
    );
  const points: Partial<Record<JudgedModality, { fit: DenseMatrix; test: DenseMatrix }>> = {};
  const views: Partial<Record<JudgedModality, Awaited<ReturnType<typeof embedViews>>>> = {};
  for (const modality of encoder.modalities) {
    const rows = selection.rows[modality];
    if (rows === undefined) continue;
    options.onStage?.(`${modality}: ${rows.fit.length + rows.test.length} rows`);
    const test = tokensOf(modality, rows.test);
    points[modality] = { fit: await embed(tokensOf(modality, rows.fit)), test: await embed(test) };
    options.onStage?.(`${modality}: masked views`);
    views[modality] = await embedViews(encoder, test.slice(0, DIFFERENTIAL_ROWS_MAX));
  }
  const { labels } = selection.dataset;
  const readsText = encoder.modalities.includes("text");
  const labelPoints =
    readsText && labels.length > 1
      ? await embed(labels.map((label) => encoder.tokenizeText(labelText(label))))
      : undefined;
  return {
    name: options.name,
    kind: options.kind,
    dimension: encoder.dimension,
    cuts: [...new Set([...encoder.config.matryoshka, encoder.dimension])].sort((a, b) => a - b),
    points,
    views,
    ...(labelPoints === undefined ? {} : { labelPoints }),
  };
}

function textTokens(encoder: JudgedEncoder, { example }: Row): TokenSequence {
  try {
    return encoder.tokenizeText(example.text ?? "");
  } catch (error) {
    if (!(error instanceof SomaError)) throw error;
    const { code, kind, next } = error;
    const what = `example "${example.id}": ${error.message}`;
    throw new SomaError(
      { code, kind, what, ...(next === undefined ? {} : { next }) },
      { cause: error },
    );
  }
}

/**
 * The cheap judgement during training that picks `best`: the mean reciprocal rank across the views of validation groups.
 * A view is one rendering of a concept: a drawing, a name, a gloss. The full kit is bench/quality.
 */
import { present } from "../base/errors.ts";
import { readValues, tf, type Tensor2D } from "../models/backend.ts";
import { matMul } from "../models/ops/mat-mul.ts";
import type { TransformerEncoder } from "../models/transformer.ts";
import { byGroup } from "../datasets/batch.ts";
import type { Dataset } from "../datasets/dataset.ts";
import type { EncoderConfig } from "../models/config.ts";
import { seededRng } from "../tokenizers/random.ts";
import type { MaskedTokens } from "../tokenizers/tokenizer.ts";
import { embedInputs, inputsOf, type Sources } from "./inputs.ts";

/** Views compared, at most: more cost time and tell little more. */
const IMAGE_VIEWS_MAX = 3;
const TEXT_VIEWS_MAX = 2;
const RECALL_AT = 10;

type Modality = "image" | "text";

export interface View {
  /** e.g. "image/twemoji" */
  readonly name: string;
  readonly modality: Modality;
  /** Group index → its input in this view, where it has one. */
  readonly inputs: ReadonlyMap<number, MaskedTokens>;
}

/** What is compared on validation groups, best choice first. */
export type ValidationSet =
  | {
      readonly kind: "views";
      readonly groupCount: number;
      readonly views: readonly View[];
      /** Ordered pairs of positions in `views`: query → candidates. */
      readonly pairs: readonly (readonly [query: number, candidates: number])[];
    }
  /** Where no concept has two views: does the nearest neighbour have the same label? */
  | {
      readonly kind: "labels";
      readonly groupCount: number;
      readonly inputs: readonly MaskedTokens[];
      readonly labels: readonly string[];
    };

/** Percent; the higher, the better. */
export interface ValidationScores {
  /**
   * What picks `best`: the mean reciprocal rank, or the share of right neighbours. Not recall at 10: among a hundred
   * groups it is nearly full after a minute, and then picks by luck.
   */
  readonly score: number;
  /** By name, as logged: { recall10, recall1, mrr }, means over the pairs of views, or { neighbor1 }. */
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * The validation groups and what to compare of them, the same for every seed. With pictures and text: pictures
 * against the first text view, both ways; else the views of one modality against each other; else labels.
 * @returns undefined if the dataset has no validation split, or nothing in it to compare
 */
export function makeValidationSet(
  dataset: Dataset,
  sources: Sources,
  config: EncoderConfig,
  groupsMax: number,
): ValidationSet | undefined {
  const groups = [...byGroup(dataset.examples.filter(({ split }) => split === "validation"))];
  const chosen = seededRng(0, "validation-groups").sample(
    groups.length,
    Math.min(groups.length, groupsMax),
  );
  const found = new Map<string, { modality: Modality; inputs: Map<number, MaskedTokens> }>();
  const labelled: { input: MaskedTokens; label: string }[] = [];
  chosen.forEach((position, groupIndex) => {
    const unnamed = { image: 0, text: 0 };
    for (const example of groups[position]?.[1] ?? []) {
      for (const { modality, input } of inputsOf(example, sources, config)) {
        const name = `${modality}/${example.variant ?? `#${++unnamed[modality]}`}`;
        const view = found.get(name) ?? { modality, inputs: new Map<number, MaskedTokens>() };
        found.set(name, view);
        if (!view.inputs.has(groupIndex)) view.inputs.set(groupIndex, input);
        if (example.label !== undefined) labelled.push({ input, label: example.label });
      }
    }
  });
  const views = [...found].map(([name, view]): View => ({ name, ...view }));
  const images = mostCommon(views, "image", IMAGE_VIEWS_MAX);
  const texts = mostCommon(views, "text", images.length > 0 ? 1 : TEXT_VIEWS_MAX);
  const kept = [...images, ...texts];
  const pairs = pairsOfViews(kept, images.length > 0 && texts.length > 0);
  const groupCount = chosen.length;
  if (pairs.length > 0) return { kind: "views", groupCount, views: kept, pairs };
  if (new Set(labelled.map(({ label }) => label)).size < 2) return undefined;
  return {
    kind: "labels",
    groupCount,
    inputs: labelled.map(({ input }) => input),
    labels: labelled.map(({ label }) => label),
  };
}

function pairsOfViews(views: readonly View[], crossing: boolean): [number, number][] {
  const pairs: [number, number][] = [];
  views.forEach((a, i) => {
    views.forEach((b, j) => {
      const wanted = i !== j && (a.modality !== b.modality) === crossing;
      const common = [...a.inputs.keys()].filter((group) => b.inputs.has(group));
      if (wanted && common.length >= 2) pairs.push([i, j]);
    });
  });
  return pairs;
}

/** Embeds every input once. Leaves no tensors. */
export function validate(encoder: TransformerEncoder, set: ValidationSet): ValidationScores {
  switch (set.kind) {
    case "views": {
      const embedded = set.views.map(({ inputs }) => {
        const rows = embedInputs(encoder, [...inputs.values()]).map(normalised);
        return new Map(
          [...inputs.keys()].map((group, i) => [group, present(rows[i], "a row an input")]),
        );
      });
      const ranks = set.pairs.map(([i, j]) =>
        ranksAcross(present(embedded[i], "a query view"), present(embedded[j], "a candidate view")),
      );
      const recall = (k: number): number =>
        mean(ranks.map((of) => 100 * mean(of.map((rank) => (rank <= k ? 1 : 0)))));
      const mrr = mean(ranks.map((of) => 100 * mean(of.map((rank) => 1 / rank))));
      return { score: mrr, metrics: { recall10: recall(RECALL_AT), recall1: recall(1), mrr } };
    }
    case "labels": {
      const rows = embedInputs(encoder, set.inputs).map(normalised);
      const neighbor1 = 100 * neighborAgreement(rows, set.labels);
      return { score: neighbor1, metrics: { neighbor1 } };
    }
  }
}

/**
 * For each group that both sides have: the place (1 = first) of its own candidate among all, by cosine. Ties count
 * against it, so that an encoder that maps everything to one point gets the last place, not the first.
 * @param queries, candidates  group → unit vector
 */
export function ranksAcross(
  queries: ReadonlyMap<number, Float32Array>,
  candidates: ReadonlyMap<number, Float32Array>,
): readonly number[] {
  const groups = [...candidates.keys()];
  const asked = [...queries].filter(([group]) => candidates.has(group));
  if (asked.length === 0) return [];
  const similarities = similarity(
    asked.map(([, row]) => row),
    [...candidates.values()],
  );
  const columns = groups.length;
  return asked.map(([group], row) => {
    const own = similarities[row * columns + groups.indexOf(group)] ?? Number.NaN;
    let rank = 1;
    for (let column = 0; column < columns; column++) {
      // Written so that a similarity that is not a number counts against, too.
      const below = (similarities[row * columns + column] ?? Number.NaN) < own;
      if (!below && groups[column] !== group) rank++;
    }
    return rank;
  });
}

function similarity(a: readonly Float32Array[], b: readonly Float32Array[]): Float32Array {
  return readValues(() => matMul(matrix(a), matrix(b), false, true));
}

/** Rows of one length as a tensor [rows, length], owned by the caller's tidy. */
function matrix(rows: readonly Float32Array[]): Tensor2D {
  const length = rows[0]?.length ?? 0;
  const values = new Float32Array(rows.length * length);
  rows.forEach((row, i) => {
    values.set(row, i * length);
  });
  return tf.tensor2d(values, [rows.length, length]);
}

/** Share of rows whose nearest other row, by cosine, has their label. @param rows unit vectors, one a label */
export function neighborAgreement(
  rows: readonly Float32Array[],
  labels: readonly string[],
): number {
  const similarities = similarity(rows, rows);
  const right = rows.map((_, i) => {
    let nearest = -1;
    let highest = Number.NEGATIVE_INFINITY;
    for (let j = 0; j < rows.length; j++) {
      const value = similarities[i * rows.length + j] ?? Number.NaN;
      if (j !== i && value > highest) {
        highest = value;
        nearest = j;
      }
    }
    return labels[nearest] === labels[i] ? 1 : 0;
  });
  return mean(right);
}

function mostCommon(views: readonly View[], modality: Modality, max: number): View[] {
  // Stable: of equally common views the one that the dataset names first.
  return views
    .filter((view) => view.modality === modality)
    .sort((a, b) => b.inputs.size - a.inputs.size)
    .slice(0, max);
}

function normalised(row: Float32Array): Float32Array {
  const norm = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
  return norm > 0 ? row.map((x) => x / norm) : row;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

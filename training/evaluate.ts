/**
 * The cheap judgement during training that picks `best`: recall at 10 across the views of validation groups.
 * A view is one rendering of a concept: a drawing, a name, a gloss. The full kit is bench/quality.
 */
import { matMul, tf, type Tensor2D } from "../models/backend.ts";
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

export interface View {
  /** e.g. "image/twemoji" */
  readonly name: string;
  readonly modality: "image" | "text";
  /** Group index → its input in this view, where it has one. */
  readonly inputs: ReadonlyMap<number, MaskedTokens>;
}

export interface ValidationSet {
  readonly groupCount: number;
  readonly views: readonly View[];
  /** Ordered pairs of positions in `views`: query → candidates. */
  readonly pairs: readonly (readonly [query: number, candidates: number])[];
}

export interface ValidationScores {
  /** Mean over pairs of views, in percent. What picks `best`. */
  readonly recall10: number;
  readonly recall1: number;
}

/**
 * The validation groups and the views to compare, the same for every seed. With pictures and text: pictures
 * against the first text view, both ways; else the views of one modality against each other.
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
  const found = new Map<
    string,
    { modality: View["modality"]; inputs: Map<number, MaskedTokens> }
  >();
  chosen.forEach((position, groupIndex) => {
    const unnamed = { image: 0, text: 0 };
    for (const example of groups[position]?.[1] ?? []) {
      for (const { modality, input } of inputsOf(example, sources, config)) {
        const name = `${modality}/${example.variant ?? `#${++unnamed[modality]}`}`;
        const view = found.get(name) ?? { modality, inputs: new Map<number, MaskedTokens>() };
        found.set(name, view);
        if (!view.inputs.has(groupIndex)) view.inputs.set(groupIndex, input);
      }
    }
  });
  const views = [...found].map(([name, view]): View => ({ name, ...view }));
  const images = mostCommon(views, "image", IMAGE_VIEWS_MAX);
  const texts = mostCommon(views, "text", images.length > 0 ? 1 : TEXT_VIEWS_MAX);
  const kept = [...images, ...texts];
  const pairs: [number, number][] = [];
  kept.forEach((a, i) => {
    kept.forEach((b, j) => {
      const crosses = a.modality !== b.modality;
      if (i !== j && crosses === (images.length > 0 && texts.length > 0)) pairs.push([i, j]);
    });
  });
  const used = pairs.filter(([i, j]) => commonGroups(kept[i], kept[j]).length >= 2);
  return used.length === 0 ? undefined : { groupCount: chosen.length, views: kept, pairs: used };
}

/** Embeds every view once. Leaves no tensors. */
export function validate(encoder: TransformerEncoder, set: ValidationSet): ValidationScores {
  const embedded = set.views.map((view) => {
    const rows = embedInputs(encoder, [...view.inputs.values()]).map(normalised);
    return new Map(
      [...view.inputs.keys()].map((group, i) => [group, rows[i] ?? new Float32Array()]),
    );
  });
  let recall1 = 0;
  let recall10 = 0;
  for (const [i, j] of set.pairs) {
    const queries = embedded[i] ?? new Map<number, Float32Array>();
    const candidates = embedded[j] ?? new Map<number, Float32Array>();
    const ranks = ranksAcross(queries, candidates);
    recall1 += ranks.filter((rank) => rank <= 1).length / ranks.length;
    recall10 += ranks.filter((rank) => rank <= RECALL_AT).length / ranks.length;
  }
  return {
    recall10: (100 * recall10) / set.pairs.length,
    recall1: (100 * recall1) / set.pairs.length,
  };
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
  return tf.tidy(() => matMul(matrix(a), matrix(b), false, true).dataSync<"float32">());
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

function mostCommon(views: readonly View[], modality: View["modality"], max: number): View[] {
  // Stable: of equally common views the one that the dataset names first.
  return views
    .filter((view) => view.modality === modality)
    .sort((a, b) => b.inputs.size - a.inputs.size)
    .slice(0, max);
}

function commonGroups(a: View | undefined, b: View | undefined): readonly number[] {
  return [...(a?.inputs.keys() ?? [])].filter((group) => b?.inputs.has(group) === true);
}

function normalised(row: Float32Array): Float32Array {
  const norm = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
  return norm > 0 ? row.map((x) => x / norm) : row;
}

/**
 * Which rows of a dataset are judged, and against which. The same dataset gives the same selection on every
 * machine and for every encoder, so that numbers can be set side by side.
 */
import { SomaError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest.ts";
import type { Dataset, Example, Split } from "../../datasets/dataset.ts";
import { requireSplit } from "../../datasets/split.ts";
import { taggedHash, toHex } from "../../tokenizers/hash.ts";
import { PROBE_CLASSES_MAX } from "./probe.ts";

export type JudgedModality = "image" | "text";

/** Groups of the judged split, at most: 2,000 put the sampling error of a share below 1.2 points. */
export const TEST_GROUPS_MAX = 2000;
/** Training rows that neighbours vote from and probes learn from, at most. Text: as the reference numbers were taken. */
export const FIT_ROWS_MAX: Readonly<Record<JudgedModality, number>> = { image: 5000, text: 2000 };
/** Renderings of a concept that are compared with each other, at most; the most common first. */
const IMAGE_VARIANTS_MAX = 6;
const TEXT_VARIANTS_MAX = 3;
/** Text variants that are judged unless others are asked for, in this order; the first carries k-NN and probe. */
const KNOWN_TEXT_VARIANTS: readonly string[] = ["en", "gloss", "lemma"];

/** An example in one modality. */
export interface Row {
  readonly example: Example;
  /** The dataset's variant, else the place among its group's rows of this modality: "1", "2", … */
  readonly variant: string;
}

/** The rows of one modality. */
export interface Rows {
  /** Training rows, for k-NN and probe; of text only the first variant. */
  readonly fit: readonly Row[];
  /** Rows of the judged split, all variants. */
  readonly test: readonly Row[];
  /** Variants of the test rows that are compared; the first is the principal one. */
  readonly variants: readonly string[];
}

export interface Selection {
  readonly dataset: Dataset;
  readonly split: Split;
  readonly rows: Readonly<Partial<Record<JudgedModality, Rows>>>;
  /** What was left out, in sentences. */
  readonly notes: readonly string[];
  /** Names the selection: equal keys of one dataset are equal rows. */
  readonly key: string;
}

export interface SelectionOptions {
  readonly split: Split;
  readonly modalities: readonly JudgedModality[];
  /** Groups at most in each split, for a quick look. */
  readonly limit?: number;
  /** Which text variants are judged. Default: en, gloss and lemma if the set has them, else the three most common. */
  readonly textVariants?: readonly string[];
}

/**
 * @throws SomaError SPLIT_EMPTY or VARIANT_UNKNOWN (usage), NOTHING_TO_JUDGE (usage) if the split has no example
 *   in any of the modalities
 */
export function selectRows(dataset: Dataset, options: SelectionOptions): Selection {
  const { split, modalities, limit, textVariants } = options;
  const order = groupOrder(dataset.examples);
  const test = [...requireSplit(dataset, split)].sort(order);
  const fit = dataset.examples.filter((example) => example.split === "train").sort(order);
  const notes: string[] = [];
  const testGroups = firstGroups(test, Math.min(TEST_GROUPS_MAX, limit ?? TEST_GROUPS_MAX));
  if (limit === undefined && testGroups.size === TEST_GROUPS_MAX) {
    notes.push(`judged on ${TEST_GROUPS_MAX} groups of the ${split} split, chosen by their hash`);
  }
  if (dataset.labels.length > PROBE_CLASSES_MAX) {
    notes.push(
      `${dataset.labels.length} labels are more than the ${PROBE_CLASSES_MAX} that a linear probe is trained on`,
    );
  }
  const fitGroups = limit === undefined ? undefined : firstGroups(fit, limit);
  const rows: Partial<Record<JudgedModality, Rows>> = {};
  for (const modality of modalities) {
    const all = rowsOf(test, modality);
    const judged = all.filter(({ example }) => testGroups.has(example.group));
    if (judged.length === 0) continue;
    const variants =
      modality === "image"
        ? mostCommon(all).slice(0, IMAGE_VARIANTS_MAX)
        : chooseTextVariants(mostCommon(all), textVariants);
    const dropped = mostCommon(all).length - variants.length;
    if (dropped > 0) {
      const choose = modality === "text" ? " (choose with --text-variants)" : "";
      notes.push(
        `${modality}: of ${dropped + variants.length} variants ${variants.join(", ")} ${variants.length === 1 ? "is" : "are"} judged${choose}`,
      );
    }
    const fitVariants = modality === "image" ? variants : variants.slice(0, 1);
    const allFit = rowsOf(fit, modality).filter(
      ({ example, variant }) =>
        fitVariants.includes(variant) && (fitGroups?.has(example.group) ?? true),
    );
    if (allFit.length > FIT_ROWS_MAX[modality]) {
      notes.push(
        `${modality}: k-NN and linear probe use ${FIT_ROWS_MAX[modality]} of ${allFit.length} training rows`,
      );
    }
    rows[modality] = {
      fit: allFit.slice(0, FIT_ROWS_MAX[modality]),
      test: judged.filter(({ variant }) => variants.includes(variant)),
      variants,
    };
  }
  if (rows.image === undefined && rows.text === undefined) {
    throw new SomaError({
      code: "NOTHING_TO_JUDGE",
      kind: "usage",
      what: `the ${split} split of ${dataset.name} has no ${modalities.join(" or ")} example`,
      next: "choose a dataset with a modality that the encoder reads",
    });
  }
  const variants = [rows.image?.variants ?? [], rows.text?.variants ?? []];
  return {
    dataset,
    split,
    rows,
    notes,
    key: JSON.stringify({ split, limit: limit ?? null, modalities, variants }),
  };
}

/**
 * Order by the group's hash, rows of a group in the dataset's order: any beginning is a fair sample, and does
 * not depend on how the file was sorted.
 */
function groupOrder(examples: readonly Example[]): (a: Example, b: Example) => number {
  const hashes = new Map<string, string>();
  const places = new Map(examples.map((example, place) => [example, place]));
  const encoder = new TextEncoder();
  const hashOf = (group: string): string => {
    let hash = hashes.get(group);
    if (hash === undefined) {
      hash = toHex(taggedHash("evaluation-order", encoder.encode(group)));
      hashes.set(group, hash);
    }
    return hash;
  };
  return (a, b) => {
    if (a.group === b.group) return (places.get(a) ?? 0) - (places.get(b) ?? 0);
    return hashOf(a.group) < hashOf(b.group) ? -1 : 1;
  };
}

function firstGroups(sorted: readonly Example[], count: number): Set<string> {
  const groups = new Set<string>();
  for (const { group } of sorted) {
    if (groups.size === count) break;
    groups.add(group);
  }
  return groups;
}

function rowsOf(examples: readonly Example[], modality: JudgedModality): Row[] {
  const unnamed = new Map<string, number>();
  const rows: Row[] = [];
  for (const example of examples) {
    if (example[modality] === undefined) continue;
    let variant = example.variant;
    if (variant === undefined) {
      const place = (unnamed.get(example.group) ?? 0) + 1;
      unnamed.set(example.group, place);
      variant = String(place);
    }
    rows.push({ example, variant });
  }
  return rows;
}

/** Variants by how many rows have them, of equally common ones the one that stands first in the group. */
function mostCommon(rows: readonly Row[]): string[] {
  const counts = new Map<string, number>();
  for (const { variant } of rows) counts.set(variant, (counts.get(variant) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([variant]) => variant);
}

function chooseTextVariants(
  available: readonly string[],
  asked: readonly string[] | undefined,
): readonly string[] {
  if (asked === undefined) {
    const known = KNOWN_TEXT_VARIANTS.filter((variant) => available.includes(variant));
    return known.length > 0 ? known : available.slice(0, TEXT_VARIANTS_MAX);
  }
  for (const variant of asked) {
    if (available.includes(variant)) continue;
    const nearest = nearestName(variant, available);
    throw new SomaError({
      code: "VARIANT_UNKNOWN",
      kind: "usage",
      what: `no text has the variant "${variant}"`,
      next:
        nearest === undefined ? `there are ${available.join(", ")}` : `did you mean ${nearest}?`,
    });
  }
  return asked;
}

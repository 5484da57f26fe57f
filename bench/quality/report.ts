/** An evaluation as tables for people: ours beside the floors, then ours at each cut. */
import { table } from "../../base/terminal.ts";
import type { Evaluation } from "./evaluation.ts";
import type { CutMetrics } from "./measure.ts";

/** How a result's name is written in tables and plots. */
export function displayName(name: string): string {
  const known: Readonly<Record<string, string>> = {
    chance: "chance",
    "random-init": "random init",
    "pixels-16x16": "pixels 16×16",
    "pca-128-half-whitened": "PCA-128 sd^−½",
    "tf-idf": "TF-IDF",
  };
  return known[name] ?? name;
}

/** One number of a cut, how to find it and how to write it. */
export interface Measure {
  readonly title: string;
  /** Higher is better, lower is better, or neither. */
  readonly better: "higher" | "lower" | "neither";
  readonly value: (metrics: CutMetrics) => number | undefined;
  readonly format: (value: number) => string;
}

const percent = (value: number): string => (100 * value).toFixed(1);
const twoDigits = (value: number): string => value.toFixed(2);
const oneDigit = (value: number): string => value.toFixed(1);

/** Every measure that any of these results has, in the order of the tables. */
export function measuresOf(all: readonly CutMetrics[]): readonly Measure[] {
  const pairings = [...new Set(all.flatMap(({ retrieval }) => Object.keys(retrieval)))];
  const measures: Measure[] = [];
  for (const name of pairings) {
    const title = name.replace("-to-", " → ");
    for (const [key, label] of [
      ["r1", "R@1"],
      ["r5", "R@5"],
      ["r10", "R@10"],
      ["mrr", "MRR"],
    ] as const) {
      measures.push({
        title: `${title} ${label}`,
        better: "higher",
        value: ({ retrieval }) => retrieval[name]?.[key],
        format: percent,
      });
    }
  }
  for (const modality of ["image", "text"] as const) {
    const add = (
      title: string,
      better: Measure["better"],
      value: Measure["value"],
      format: Measure["format"],
    ): void => {
      measures.push({ title: `${modality} ${title}`, better, value, format });
    };
    add("k-NN", "higher", ({ knn }) => knn[modality], percent);
    add("linear probe", "higher", ({ linear }) => linear[modality], percent);
    add("zero-shot", "higher", ({ zeroShot }) => zeroShot[modality], percent);
    add("effective rank", "neither", ({ spectrum }) => spectrum[modality]?.effectiveRank, oneDigit);
    add("alignment", "neither", ({ spectrum }) => spectrum[modality]?.alignment, twoDigits);
    add("uniformity", "neither", ({ spectrum }) => spectrum[modality]?.uniformity, twoDigits);
    add(
      "differential loss",
      "neither",
      ({ differential }) => differential[modality]?.raw,
      twoDigits,
    );
    add(
      "differential loss, centred",
      "neither",
      ({ differential }) => differential[modality]?.centred,
      twoDigits,
    );
  }
  return measures.filter(({ value }) => all.some((metrics) => value(metrics) !== undefined));
}

/** Floors first, ours in the last column; shares in percent. */
export function floorsTable(evaluation: Evaluation): string {
  const [own, ...floors] = evaluation.results;
  const columns = [...floors, ...(own === undefined ? [] : [own])].map(({ name, cuts }) => ({
    name: displayName(name),
    metrics: cuts.at(-1),
  }));
  const rows = measuresOf([evaluation.metrics]).map((measure) => [
    measure.title,
    ...columns.map(({ metrics }) => cell(measure, metrics)),
  ]);
  return table(["", ...columns.map(({ name }) => name)], rows);
}

/** Ours at every Matryoshka cut; undefined if there is only one. */
export function cutsTable(evaluation: Evaluation): string | undefined {
  const cuts = evaluation.results[0]?.cuts ?? [];
  if (cuts.length < 2) return undefined;
  const rows = measuresOf(cuts).map((measure) => [
    measure.title,
    ...cuts.map((metrics) => cell(measure, metrics)),
  ]);
  return table(["dimensions", ...cuts.map(({ dimension }) => String(dimension))], rows);
}

function cell(measure: Measure, metrics: CutMetrics | undefined): string {
  const value = metrics === undefined ? undefined : measure.value(metrics);
  return value === undefined ? "–" : measure.format(value);
}

/**
 * Every number of one space on one selection, at each cut. A space is what an encoder makes of the rows: ours,
 * a floor, or embeddings read from a file; all are judged by this one function.
 */
import { assert } from "../../base/errors.ts";
import { differentialLoss, type DifferentialLoss, type DifferentialViews } from "./differential.ts";
import { knnAccuracy, majorityAccuracy } from "./knn.ts";
import {
  innerProducts,
  normaliseRows,
  prefix,
  selectRows as rowsAt,
  type DenseMatrix,
  type Matrix,
} from "./matrix.ts";
import { linearProbe } from "./probe.ts";
import { chanceScore, meanScore, retrievalScore, type RetrievalScore } from "./retrieval.ts";
import type { JudgedModality, Row, Rows, Selection } from "./selection.ts";
import { spectrumOf, type Spectrum } from "./spectrum.ts";
import { zeroShotAccuracy } from "./zero-shot.ts";

/** Test rows whose spectrum is taken, at most: uniformity compares all pairs. */
const SPECTRUM_ROWS_MAX = 2000;

export type SpaceKind = "encoder" | "floor" | "stored";

/** Points of one modality, a row for each row of the selection. */
export interface PointSets {
  readonly fit: Matrix;
  readonly test: Matrix;
}

export interface Space {
  /** Stable name, e.g. "soma", "random-init". */
  readonly name: string;
  readonly kind: SpaceKind;
  /** Length of a whole point. */
  readonly dimension: number;
  /** Prefix lengths that are judged, ascending; the last is `dimension`. */
  readonly cuts: readonly number[];
  readonly points: Readonly<Partial<Record<JudgedModality, PointSets>>>;
  /** The written names of dataset.labels, a row each; absent if the space has no text. */
  readonly labelPoints?: DenseMatrix;
  readonly views?: Readonly<Partial<Record<JudgedModality, DifferentialViews>>>;
}

/** The numbers of one cut. Shares are 0 … 1; what does not apply is absent. */
export interface CutMetrics {
  readonly dimension: number;
  /** By pairing: "image-to-image", "en-to-image", "lemma-to-gloss", … */
  readonly retrieval: Readonly<Record<string, RetrievalScore>>;
  readonly knn: ByModality<number>;
  readonly linear: ByModality<number>;
  readonly zeroShot: ByModality<number>;
  readonly spectrum: ByModality<Spectrum>;
  readonly differential: ByModality<DifferentialLoss>;
}

export type ByModality<T> = Readonly<Partial<Record<JudgedModality, T>>>;

export interface SpaceMetrics {
  readonly name: string;
  readonly kind: SpaceKind;
  readonly dimension: number;
  readonly cuts: readonly CutMetrics[];
}

/** Let the event loop run between cuts, so that a progress bar and Ctrl-C stay alive. */
export async function measureSpace(space: Space, selection: Selection): Promise<SpaceMetrics> {
  const cuts: CutMetrics[] = [];
  for (const cut of space.cuts) {
    cuts.push(measureCut(space, selection, cut));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { name: space.name, kind: space.kind, dimension: space.dimension, cuts };
}

function measureCut(space: Space, selection: Selection, cut: number): CutMetrics {
  const points = mapModalities(space.points, ({ fit, test }) => ({
    fit: cutPoints(fit, cut),
    test: cutPoints(test, cut),
  }));
  const labelPoints =
    space.labelPoints === undefined ? undefined : normaliseRows(prefix(space.labelPoints, cut));
  const retrieval: Record<string, RetrievalScore> = {};
  for (const pairing of pairings(selection)) {
    const score = meanScore(
      pairing.members.map(([query, candidates]) => {
        const from = points[query.modality];
        const to = points[candidates.modality];
        if (from === undefined || to === undefined) return undefined;
        return retrievalScore(
          innerProducts(rowsAt(from.test, query.indices), rowsAt(to.test, candidates.indices)),
          groupsAt(selection, query),
          groupsAt(selection, candidates),
        );
      }),
    );
    if (score !== undefined) retrieval[pairing.name] = score;
  }
  const labelled = mapModalities(points, ({ fit, test }, modality) => {
    const rows = selection.rows[modality];
    assert(rows !== undefined, "points are of selected rows");
    return labelledPoints(rows, { fit, test });
  });
  return {
    dimension: cut,
    retrieval,
    knn: mapModalities(labelled, ({ fit, test }) =>
      test.rows.length === 0 || fit.rows.length === 0
        ? undefined
        : knnAccuracy(
            innerProducts(test.matrix, fit.matrix),
            { groups: groupsOf(test.rows), labels: labelsOf(test.rows) },
            { groups: groupsOf(fit.rows), labels: labelsOf(fit.rows) },
          ),
    ),
    linear: mapModalities(
      labelled,
      ({ fit, test }) =>
        linearProbe(
          { matrix: fit.matrix, labels: labelsOf(fit.rows) },
          { matrix: test.matrix, labels: labelsOf(test.rows) },
        )?.accuracy,
    ),
    zeroShot: mapModalities(labelled, ({ test }) =>
      labelPoints === undefined
        ? undefined
        : zeroShotAccuracy(
            innerProducts(test.matrix, labelPoints),
            labelsOf(test.rows),
            selection.dataset.labels,
          ),
    ),
    spectrum: mapModalities(points, ({ test }, modality) => {
      if (test.kind !== "dense") return undefined;
      const rows = selection.rows[modality]?.test.slice(0, SPECTRUM_ROWS_MAX) ?? [];
      return spectrumOf(
        rowsAt(
          test,
          rows.map((_, i) => i),
        ),
        groupsOf(rows),
      );
    }),
    differential: mapModalities(space.views ?? {}, (views) => differentialLoss(views, cut)),
  };
}

/**
 * What knowing nothing scores: a random order for retrieval, the most frequent training class for k-NN and
 * probe, one class in K for zero-shot.
 */
export function measureChance(selection: Selection): SpaceMetrics {
  const retrieval: Record<string, RetrievalScore> = {};
  for (const { name, members } of pairings(selection)) {
    const score = meanScore(
      members.map(([query, candidates]) => {
        const candidateGroups = groupsAt(selection, candidates);
        const counts = new Map<string, number>();
        for (const group of candidateGroups) counts.set(group, (counts.get(group) ?? 0) + 1);
        const queries = groupsAt(selection, query).filter((group) => counts.has(group));
        const averages = meanScore(
          queries.map((group) =>
            chanceScore({
              queries: queries.length,
              candidates: candidateGroups.length,
              positives: counts.get(group) ?? 1,
            }),
          ),
        );
        return averages;
      }),
    );
    if (score !== undefined) retrieval[name] = score;
  }
  const classes = selection.dataset.labels.length;
  const majority = mapModalities(selection.rows, (rows) => {
    const { fit, test } = labelledRows(rows);
    return majorityAccuracy(
      labelsOf(test.map(({ row }) => row)),
      labelsOf(fit.map(({ row }) => row)),
    );
  });
  return {
    name: "chance",
    kind: "floor",
    dimension: 0,
    cuts: [
      {
        dimension: 0,
        retrieval,
        knn: majority,
        linear: majority,
        zeroShot: classes < 2 ? {} : mapModalities(selection.rows, () => 1 / classes),
        spectrum: {},
        differential: {},
      },
    ],
  };
}

/** The test rows of one variant. */
interface Side {
  readonly modality: JudgedModality;
  readonly variant: string;
  /** Positions in Rows.test. */
  readonly indices: readonly number[];
}

interface Pairing {
  readonly name: string;
  /** Ordered pairs query → candidates; the score is their mean. */
  readonly members: readonly (readonly [query: Side, candidates: Side])[];
}

/**
 * What is searched for in what. Pictures: all ordered pairs of different drawings. Texts: the same, also by
 * name. Across: each text variant against every drawing, both ways.
 */
export function pairings(selection: Selection): readonly Pairing[] {
  const image = sidesOf(selection, "image");
  const text = sidesOf(selection, "text");
  const result: Pairing[] = [
    { name: "image-to-image", members: orderedPairs(image) },
    { name: "text-to-text", members: orderedPairs(text) },
  ];
  for (const [query, candidates] of orderedPairs(text)) {
    result.push({
      name: `${query.variant}-to-${candidates.variant}`,
      members: [[query, candidates]],
    });
  }
  const across = (from: readonly Side[], to: readonly Side[]): Pairing["members"] =>
    from.flatMap((query) => to.map((candidates) => [query, candidates] as const));
  result.push(
    { name: "text-to-image", members: across(text, image) },
    { name: "image-to-text", members: across(image, text) },
  );
  if (text.length > 1 && image.length > 0) {
    for (const side of text) {
      result.push(
        { name: `${side.variant}-to-image`, members: across([side], image) },
        { name: `image-to-${side.variant}`, members: across(image, [side]) },
      );
    }
  }
  return result.filter(({ members }) => members.length > 0);
}

function sidesOf(selection: Selection, modality: JudgedModality): Side[] {
  const rows = selection.rows[modality];
  return (rows?.variants ?? []).map((variant) => ({
    modality,
    variant,
    indices: indicesWhere(rows?.test ?? [], (row) => row.variant === variant),
  }));
}

function orderedPairs(sides: readonly Side[]): (readonly [Side, Side])[] {
  return sides.flatMap((a) => sides.filter((b) => b !== a).map((b) => [a, b] as const));
}

function groupsAt(selection: Selection, side: Side): string[] {
  const test = selection.rows[side.modality]?.test ?? [];
  return side.indices.map((i) => test[i]?.example.group ?? "");
}

/** Rows that have a label; of text test rows only those of the principal variant, as in training. */
function labelledRows(rows: Rows): {
  readonly fit: readonly { readonly row: Row; readonly index: number }[];
  readonly test: readonly { readonly row: Row; readonly index: number }[];
} {
  const fitVariants = new Set(rows.fit.map(({ variant }) => variant));
  const withIndex = (all: readonly Row[]): { row: Row; index: number }[] =>
    all.map((row, index) => ({ row, index })).filter(({ row }) => row.example.label !== undefined);
  return {
    fit: withIndex(rows.fit),
    test: withIndex(rows.test).filter(
      ({ row }) => fitVariants.size === 0 || fitVariants.has(row.variant),
    ),
  };
}

function labelledPoints(
  rows: Rows,
  points: PointSets,
): Readonly<Record<"fit" | "test", { readonly rows: readonly Row[]; readonly matrix: Matrix }>> {
  const { fit, test } = labelledRows(rows);
  const take = (
    chosen: readonly { readonly row: Row; readonly index: number }[],
    matrix: Matrix,
  ): { rows: readonly Row[]; matrix: Matrix } => ({
    rows: chosen.map(({ row }) => row),
    matrix: rowsAt(
      matrix,
      chosen.map(({ index }) => index),
    ),
  });
  return { fit: take(fit, points.fit), test: take(test, points.test) };
}

/** The prefix, scaled to length 1. Sparse rows have no prefix and are of length 1 already. */
function cutPoints(matrix: Matrix, cut: number): Matrix {
  return matrix.kind === "dense" ? normaliseRows(prefix(matrix, cut)) : matrix;
}

function indicesWhere(rows: readonly Row[], chosen: (row: Row) => boolean): number[] {
  return rows.flatMap((row, index) => (chosen(row) ? [index] : []));
}

function groupsOf(rows: readonly Row[]): string[] {
  return rows.map(({ example }) => example.group);
}

function labelsOf(rows: readonly Row[]): string[] {
  return rows.map(({ example }) => example.label ?? "");
}

/** The same record with `change` applied to each entry; entries without a value are left out. */
function mapModalities<A, B>(
  record: ByModality<A>,
  change: (value: A, modality: JudgedModality) => B | undefined,
): ByModality<B> {
  const result: Partial<Record<JudgedModality, B>> = {};
  for (const modality of ["image", "text"] as const) {
    const value = record[modality];
    const changed = value === undefined ? undefined : change(value, modality);
    if (changed !== undefined) result[modality] = changed;
  }
  return result;
}

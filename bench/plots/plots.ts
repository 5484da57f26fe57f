/** All plots of an evaluation, each as SVG and as PNG, into one folder. */
import { encodePng } from "../../tokenizers/image/decode.ts";
import { readMetrics } from "../../training/run-folder.ts";
import type { Evaluated } from "../quality/evaluation.ts";
import { nearestRows } from "../quality/knn.ts";
import { innerProducts, normaliseRows, selectRows as rowsAt } from "../quality/matrix.ts";
import { pairings } from "../quality/measure.ts";
import { displayName, measuresOf } from "../quality/report.ts";
import { positiveRanks } from "../quality/retrieval.ts";
import type { JudgedModality, Row } from "../quality/selection.ts";
import { bars } from "./bars.ts";
import { embeddingMap } from "./embedding-map.ts";
import { lossCurve } from "./loss-curve.ts";
import { retrievalSheet, type SheetRow, type Shown } from "./retrieval-sheet.ts";
import { NEIGHBOR_COUNT, POINTS_MIN, umapLayout } from "./umap.ts";
import { writePlots, type Drawn } from "./write.ts";

/** Points of a map, at most. */
const MAP_POINTS_MAX = 2000;
const MAP_SEED = 1;
/** Queries of a retrieval sheet, and candidates shown for each. */
const SHEET_ROWS = 8;
const SHEET_NEAREST = 5;
/** Pairings with a sheet, at most: the first says most. */
const SHEETS_MAX = 3;

export interface DrawOptions {
  readonly folder: string;
  /** The run folder whose loss is drawn, if there is one. */
  readonly run: string | undefined;
}

/** @throws SomaError DISK_FULL, WRITE_FAILED */
export async function drawPlots(evaluated: Evaluated, options: DrawOptions): Promise<Drawn> {
  const plots = new Map<string, string>();
  const add = (name: string, svg: string | undefined): void => {
    if (svg !== undefined) plots.set(name, svg);
  };
  if (options.run !== undefined) {
    const { name } = evaluated.evaluation.encoder;
    add("loss", lossCurve(await readMetrics(options.run), `Training of ${name}`));
  }
  add("floors", floorBars(evaluated));
  for (const modality of ["image", "text"] as const) {
    add(`map-${modality}`, mapOf(evaluated, modality));
  }
  for (const [name, svg] of await sheetsOf(evaluated)) add(`retrieval-${name}`, svg);

  return writePlots(options.folder, plots);
}

function floorBars({ evaluation }: Evaluated): string {
  const [own, ...floors] = evaluation.results;
  const columns = [...floors, ...(own === undefined ? [] : [own])].map(({ name, cuts }) => ({
    name: displayName(name),
    metrics: cuts.at(-1),
  }));
  const panels = measuresOf([evaluation.metrics])
    .filter(({ better, title }) => better === "higher" && !/R@5|MRR/.test(title))
    .map(({ title, value }) => ({
      title,
      values: columns.map((column) =>
        column.metrics === undefined ? undefined : value(column.metrics),
      ),
    }));
  const { dataset, encoder } = evaluation;
  return bars({
    title: `${encoder.name} against the floors`,
    subtitle: `${dataset.name}, ${dataset.split} split; percent, higher is better; dashed: the best floor`,
    encoders: columns.map(({ name }) => name),
    panels,
  });
}

function mapOf(evaluated: Evaluated, modality: JudgedModality): string | undefined {
  const { space, selection, evaluation } = evaluated;
  const test = space.points[modality]?.test;
  const rows = selection.rows[modality]?.test ?? [];
  if (test?.kind !== "dense" || test.count < POINTS_MIN) return undefined;
  const shown = rows.slice(0, MAP_POINTS_MAX);
  const points = normaliseRows(
    rowsAt(
      test,
      shown.map((_, i) => i),
    ),
  );
  return embeddingMap({
    title: `Map of ${modality} embeddings`,
    subtitle: `UMAP of ${points.count} ${evaluation.dataset.split} rows of ${evaluation.dataset.name} by ${evaluation.encoder.name} (cosine, ${NEIGHBOR_COUNT} neighbours); distances between islands mean nothing`,
    points: umapLayout(points, MAP_SEED),
    labels: shown.map(({ example }) => example.label),
  });
}

/** The first queries in the order of evaluation, not chosen by how well they went. */
async function sheetsOf(evaluated: Evaluated): Promise<Map<string, string>> {
  const { space, selection, evaluation } = evaluated;
  const sheets = new Map<string, string>();
  const drawn = new Set<string>();
  for (const { name, members } of pairings(selection)) {
    const [query, candidates] = members[0] ?? [];
    if (query === undefined || candidates === undefined || sheets.size === SHEETS_MAX) continue;
    const pair = `${query.modality} ${query.variant} ${candidates.modality} ${candidates.variant}`;
    if (drawn.has(pair)) continue; // "text-to-text" begins with the pair that "gloss-to-lemma" is
    drawn.add(pair);
    const from = space.points[query.modality]?.test;
    const to = space.points[candidates.modality]?.test;
    if (from?.kind !== "dense" || to?.kind !== "dense") continue;
    const queryRows = rowsOfSide(evaluated, query);
    const candidateRows = rowsOfSide(evaluated, candidates);
    const similarities = innerProducts(
      normaliseRows(rowsAt(from, query.indices.slice(0, SHEET_ROWS))),
      normaliseRows(rowsAt(to, candidates.indices)),
    );
    const asked = queryRows.slice(0, SHEET_ROWS);
    const ranks = positiveRanks(similarities, groupsOf(asked), groupsOf(candidateRows));
    const rows: SheetRow[] = [];
    for (const [i, row] of asked.entries()) {
      const count = candidateRows.length;
      const nearest = nearestRows(similarities.subarray(i * count, (i + 1) * count), SHEET_NEAREST);
      rows.push({
        query: await shownOf(evaluated, query.modality, row),
        nearest: await Promise.all(
          nearest.flatMap((at) => {
            const candidate = candidateRows[at];
            return candidate === undefined
              ? []
              : [
                  shownOf(evaluated, candidates.modality, candidate).then((item) => ({
                    item,
                    right: candidate.example.group === row.example.group,
                  })),
                ];
          }),
        ),
        rank: ranks[i] ?? 0,
      });
    }
    sheets.set(
      name,
      retrievalSheet({
        title: `Retrieval: ${query.variant} → ${candidates.variant}`,
        subtitle: `the first ${rows.length} concepts of the ${evaluation.dataset.split} split, by ${evaluation.encoder.name}; solid with a tick: right`,
        columns: ["query", `nearest of ${candidateRows.length}`],
        rows,
      }),
    );
  }
  return sheets;
}

function rowsOfSide(
  { selection }: Evaluated,
  side: { readonly modality: JudgedModality; readonly indices: readonly number[] },
): Row[] {
  const test = selection.rows[side.modality]?.test ?? [];
  return side.indices.flatMap((i) => {
    const row = test[i];
    return row === undefined ? [] : [row];
  });
}

function groupsOf(rows: readonly Row[]): string[] {
  return rows.map(({ example }) => example.group);
}

async function shownOf(
  { images }: Evaluated,
  modality: JudgedModality,
  { example }: Row,
): Promise<Shown> {
  if (modality === "image" && images?.has(example.id) === true) {
    const png = await encodePng(images.get(example.id));
    return {
      kind: "picture",
      url: `data:image/png;base64,${Buffer.from(png).toString("base64")}`,
    };
  }
  return { kind: "text", text: example.text ?? example.id };
}

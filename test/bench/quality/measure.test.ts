import { expect, test } from "vitest";
import { denseMatrix } from "../../../bench/quality/matrix.ts";
import { measureChance, measureSpace, type Space } from "../../../bench/quality/measure.ts";
import { selectRows, type Row, type Selection } from "../../../bench/quality/selection.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { madeUpDataset } from "../../support/made-up-dataset.ts";

const DIMENSION = 24;

async function selection(groupCount = 200): Promise<Selection> {
  const dataset = await madeUpDataset({ groupCount, textVariants: ["en", "gloss"] });
  return selectRows(dataset, { split: "test", modalities: ["image", "text"] });
}

/** A space that places each row by a rule of its own. */
function spaceOf(chosen: Selection, place: (row: Row) => readonly number[]): Space {
  const points = (rows: readonly Row[]) => denseMatrix(rows.map(place), DIMENSION);
  const both = (modality: "image" | "text") => ({
    fit: points(chosen.rows[modality]?.fit ?? []),
    test: points(chosen.rows[modality]?.test ?? []),
  });
  return {
    name: "made-up",
    kind: "encoder",
    dimension: DIMENSION,
    cuts: [DIMENSION / 2, DIMENSION],
    points: { image: both("image"), text: both("text") },
    labelPoints: denseMatrix(
      chosen.dataset.labels.map((label) => place({ example: labelExample(label), variant: "" })),
      DIMENSION,
    ),
  };
}

const labelExample = (label: string) =>
  ({ id: label, group: label, split: "test", label }) as const;

/** Noise of the row's own, the group's direction and the label's, with weights. */
function mixture(weights: { group: number; label: number; noise: number }) {
  return ({ example, variant }: Row): number[] => {
    const direction = (name: string): number[] => {
      const rng = seededRng(1, name);
      return Array.from({ length: DIMENSION }, () => rng.unit() - 0.5);
    };
    const parts = [
      [weights.group, direction(`group ${example.group}`)],
      [weights.label, direction(`label ${example.label ?? ""}`)],
      [weights.noise, direction(`row ${example.id} ${variant}`)],
    ] as const;
    return Array.from({ length: DIMENSION }, (_, k) =>
      parts.reduce((sum, [weight, values]) => sum + weight * (values[k] ?? 0), 0),
    );
  };
}

test("an encoder that knows concept and label is perfect on every measure, at every cut", async () => {
  const chosen = await selection();
  const { cuts } = await measureSpace(
    spaceOf(chosen, mixture({ group: 0.3, label: 1, noise: 0 })),
    chosen,
  );
  expect(cuts.map(({ dimension }) => dimension)).toEqual([12, 24]);
  for (const { retrieval, knn, linear } of cuts) {
    expect(Object.keys(retrieval).sort()).toEqual(
      [
        ...["image-to-image", "text-to-text", "en-to-gloss", "gloss-to-en"],
        ...["text-to-image", "image-to-text"],
        ...["en-to-image", "image-to-en", "gloss-to-image", "image-to-gloss"],
      ].sort(),
    );
    for (const score of Object.values(retrieval)) expect(score).toMatchObject({ r1: 1, mrr: 1 });
    expect(knn).toEqual({ image: 1, text: 1 });
    expect(linear).toEqual({ image: 1, text: 1 });
  }
});

test("an encoder of noise scores chance, within four standard errors", async () => {
  const chosen = await selection(600);
  const { cuts } = await measureSpace(
    spaceOf(chosen, mixture({ group: 0, label: 0, noise: 1 })),
    chosen,
  );
  const chance = measureChance(chosen).cuts[0];
  const own = cuts.at(-1);
  const queries = 120;
  for (const name of ["image-to-image", "en-to-gloss"]) {
    const p = chance?.retrieval[name]?.r10 ?? Number.NaN;
    expect(p).toBeCloseTo(10 / queries, 10);
    const error = Math.sqrt((p * (1 - p)) / queries);
    expect(Math.abs((own?.retrieval[name]?.r10 ?? 1) - p)).toBeLessThan(4 * error);
  }
  const half = Math.sqrt(0.25 / (3 * queries));
  expect(Math.abs((own?.knn.image ?? 1) - 0.5)).toBeLessThan(4 * half + 0.02);
  expect(chance?.knn.image).toBeCloseTo(0.5, 10);
});

test("the mean over drawings is the plain mean of the six ordered pairs", async () => {
  const chosen = await selection();
  const { cuts } = await measureSpace(
    spaceOf(chosen, mixture({ group: 1, label: 0, noise: 0.8 })),
    chosen,
  );
  const score = cuts.at(-1)?.retrieval["image-to-image"];
  expect(score?.r1).toBeGreaterThan(0.1);
  expect(score?.r1).toBeLessThan(1);
  expect(score?.queries).toBe(40);
  expect(score?.candidates).toBe(40);
});

test("rows without a label take no part in k-NN and probe, and without labels there is neither", async () => {
  const dataset = await madeUpDataset({ groupCount: 30, labels: [] });
  const chosen = selectRows(dataset, { split: "test", modalities: ["image"] });
  const { cuts } = await measureSpace(
    {
      ...spaceOf(chosen, mixture({ group: 1, label: 0, noise: 0 })),
      points: {
        image: {
          fit: denseMatrix(
            (chosen.rows.image?.fit ?? []).map(mixture({ group: 1, label: 0, noise: 0 })),
            DIMENSION,
          ),
          test: denseMatrix(
            (chosen.rows.image?.test ?? []).map(mixture({ group: 1, label: 0, noise: 0 })),
            DIMENSION,
          ),
        },
      },
    },
    chosen,
  );
  expect(cuts[0]?.knn).toEqual({});
  expect(cuts[0]?.linear).toEqual({});
  expect(cuts[0]?.zeroShot).toEqual({});
  expect(cuts[0]?.retrieval["image-to-image"]?.r1).toBe(1);
});

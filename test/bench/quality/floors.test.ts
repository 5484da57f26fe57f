import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { halfWhitened, measureFloors, shrink } from "../../../bench/quality/floors.ts";
import { denseMatrix, rowOf } from "../../../bench/quality/matrix.ts";
import { selectRows } from "../../../bench/quality/selection.ts";
import { columnDeviations } from "../../../bench/quality/spectrum.ts";
import { loadImages } from "../../../datasets/images.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { madeUpDataset } from "../../support/made-up-dataset.ts";

let cache = "";
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), "soma-floors-"));
  vi.stubEnv("SOMA_CACHE", cache);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(cache, { recursive: true, force: true });
});

test("shrinking keeps the mean of each channel, for sizes that 16 divides and others", () => {
  const rng = seededRng(1, "shrink");
  for (const [width, height] of [
    [64, 64],
    [48, 16],
    [10, 37],
  ] as const) {
    const pixels = Uint8Array.from({ length: width * height * 3 }, () => rng.uniform(256));
    const small = shrink({ width, height, pixels });
    for (let channel = 0; channel < 3; channel++) {
      const mean = (values: ArrayLike<number>): number => {
        let sum = 0;
        for (let i = channel; i < values.length; i += 3) sum += values[i] ?? 0;
        return sum / (values.length / 3);
      };
      expect(mean(small)).toBeCloseTo(mean(pixels) / 127.5 - 1, 5);
    }
  }
});

test("half-whitened components have deviations that are the square roots of what they were", () => {
  const rng = seededRng(2, "pca");
  const scales = Array.from({ length: 768 }, (_, k) => (k < 5 ? 5 - k : 0.001));
  const rows = Array.from({ length: 60 }, () =>
    scales.map((scale) => scale * (rng.unit() - 0.5) * Math.sqrt(12)),
  );
  const matrix = denseMatrix(rows, 768);
  const space = halfWhitened({ fit: matrix, test: matrix });
  const projected = space.points.image?.fit;
  expect(projected?.kind).toBe("dense");
  if (projected?.kind !== "dense") return;
  expect(projected.dimension).toBe(128);
  const deviations = columnDeviations(projected);
  // 60 rows of five strong directions: √5, √4, … within the sampling error of a deviation (10 %, halved by the root).
  [5, 4, 3, 2, 1].forEach((scale, k) => {
    expect(Math.abs((deviations[k] ?? 0) / Math.sqrt(scale) - 1)).toBeLessThan(0.2);
  });
  // More components than rows: the rest is nothing, not noise blown up.
  expect(deviations[100]).toBeLessThan(0.05);
  expect(rowOf(projected, 0).every(Number.isFinite)).toBe(true);
});

test("floors are computed once, then read by the dataset's digest; a damaged file is computed again", async () => {
  const dataset = await madeUpDataset({ groupCount: 20, textVariants: ["en"] });
  const selection = selectRows(dataset, { split: "test", modalities: ["image", "text"] });
  const images = await loadImages(dataset, dataset.examples, { maxPatches: 16, workers: 0 });
  const computed: string[] = [];
  const measure = () =>
    measureFloors({ selection, images, onCompute: (name) => computed.push(name) });
  const first = await measure();
  expect(first.map(({ name }) => name)).toEqual([
    "chance",
    "pixels-16x16",
    "pca-128-half-whitened",
    "tf-idf",
  ]);
  expect(computed.splice(0)).toEqual(["pixels-16x16", "pca-128-half-whitened", "tf-idf"]);
  expect(await measure()).toEqual(JSON.parse(JSON.stringify(first)));
  expect(computed).toEqual([]);

  const [file] = readdirSync(join(cache, "floors")).filter((name) => name.startsWith("tf-idf"));
  const path = join(cache, "floors", file ?? "");
  writeFileSync(path, readFileSync(path, "utf8").slice(0, 40));
  expect(await measure()).toEqual(JSON.parse(JSON.stringify(first)));
  expect(computed).toEqual(["tf-idf"]);

  const other = { ...selection, dataset: { ...dataset, digest: "0".repeat(64) } };
  await measureFloors({ selection: other, images, onCompute: (name) => computed.push(name) });
  expect(computed.length).toBe(4);
});

test("pixels see what colour shows: the concept's colour is found across its drawings", async () => {
  const dataset = await madeUpDataset({ groupCount: 60 });
  const selection = selectRows(dataset, { split: "test", modalities: ["image"] });
  const images = await loadImages(dataset, dataset.examples, { maxPatches: 16, workers: 0 });
  const floors = await measureFloors({ selection, images });
  const pixels = floors.find(({ name }) => name === "pixels-16x16")?.cuts[0];
  expect(pixels?.retrieval["image-to-image"]?.r1).toBeGreaterThan(0.9);
});

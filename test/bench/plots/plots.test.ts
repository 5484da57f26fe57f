import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { bars } from "../../../bench/plots/bars.ts";
import { embeddingMap } from "../../../bench/plots/embedding-map.ts";
import { lossCurve } from "../../../bench/plots/loss-curve.ts";
import { withPixelText } from "../../../bench/plots/pixel-font.ts";
import { drawPlots } from "../../../bench/plots/plots.ts";
import { retrievalSheet } from "../../../bench/plots/retrieval-sheet.ts";
import { categoryStyle, escape, fitText, text, textWidth, ticks } from "../../../base/svg.ts";
import { umapLayout } from "../../../bench/plots/umap.ts";
import { drawsText } from "../../../bench/plots/write.ts";
import type { Evaluation } from "../../../bench/quality/evaluation.ts";
import { denseMatrix, normaliseRows } from "../../../bench/quality/matrix.ts";
import { measureSpace, type Space } from "../../../bench/quality/measure.ts";
import { selectRows } from "../../../bench/quality/selection.ts";
import { loadImages } from "../../../datasets/images.ts";
import { svgToPng } from "../../../tokenizers/image/decode.ts";
import { sniffFormat } from "../../../tokenizers/image/format.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { madeUpDataset } from "../../support/made-up-dataset.ts";

const folder = mkdtempSync(join(tmpdir(), "soma-plots-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Names as they come from users' data. */
const HOSTILE = 'a <b> & "c" \u0000\u0007\ud800 ]]> <script>alert(1)</script>';

test("no text breaks out of its element, whatever characters it has", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (content) => {
      const written = escape(content);
      expect(written).not.toMatch(/[<>"]|&(?!amp;|lt;|gt;|quot;)/);
      // eslint-disable-next-line no-control-regex -- what XML forbids is what is looked for
      expect(written).not.toMatch(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/u);
    }),
  );
});

test("fitted text is never wider than asked, but for a single character, and whole if there is room", () => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 20, max: 400 }), (content, width) => {
      const fitted = fitText(content, width);
      expect(fitted === content || textWidth(fitted) <= width).toBe(true);
      if (textWidth(content) <= width) expect(fitted).toBe(content);
    }),
  );
});

test("ticks are even, inside the range, and about as many as asked for", () => {
  fc.assert(
    fc.property(
      fc.double({ min: -1000, max: 1000, noNaN: true }),
      fc.double({ min: 0.001, max: 1000, noNaN: true }),
      (low, span) => {
        const found = ticks(low, low + span, 5);
        expect(found.length).toBeGreaterThanOrEqual(2);
        expect(found.length).toBeLessThanOrEqual(6);
        for (const tick of found) {
          expect(tick).toBeGreaterThanOrEqual(low - 1e-6 * span);
          expect(tick).toBeLessThanOrEqual(low + span * (1 + 1e-6));
        }
      },
    ),
  );
});

test("without fonts every ASCII character has a shape of its own, and no text is left for the renderer", () => {
  const shapes = Array.from({ length: 94 }, (_, i) =>
    withPixelText(text(0, 0, String.fromCharCode(33 + i))),
  );
  expect(new Set(shapes).size).toBe(94);
  for (const shape of shapes) expect(shape).toMatch(/^<path d="M[^"]+" fill="#[0-9a-f]{6}"\/>$/);
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (content) => {
      expect(withPixelText(text(1, 2, content, { anchor: "end" }))).not.toContain("<text");
    }),
  );
});

test("marks are left out and signs are spelled, so that names stay readable without fonts", () => {
  const same = (a: string, b: string) => {
    expect(withPixelText(text(0, 0, a))).toBe(withPixelText(text(0, 0, b)));
  };
  same("café", "cafe");
  same("PCA-128 sd^−½", "PCA-128 sd^-1/2");
  same("16×16", "16x16");
});

test("the renderer is asked whether it has fonts, and answers the same twice", async () => {
  expect(await drawsText()).toBe(await drawsText());
});

test("36 categories look different from each other", () => {
  const styles = Array.from({ length: 36 }, (_, i) => JSON.stringify(categoryStyle(i)));
  expect(new Set(styles).size).toBe(36);
});

test("every plot of hostile names renders to a PNG", async () => {
  const rows = [
    {
      query: { kind: "text", text: HOSTILE },
      nearest: [
        { item: { kind: "text", text: HOSTILE.repeat(9) }, right: true },
        { item: { kind: "text", text: "" }, right: false },
      ],
      rank: 0,
    },
  ] as const;
  const title = HOSTILE;
  const subtitle = HOSTILE;
  const drawings = [
    bars({
      title,
      subtitle,
      encoders: [HOSTILE, "ours"],
      panels: [{ title: HOSTILE, values: [undefined, 0.5] }],
    }),
    embeddingMap({
      title,
      subtitle,
      points: [
        [0, 0],
        [1, 1],
      ],
      labels: [HOSTILE, undefined],
    }),
    retrievalSheet({ title, subtitle, columns: [HOSTILE, HOSTILE], rows }),
    lossCurve(
      [
        { kind: "train", step: 1, loss: 2 },
        { kind: "train", step: 2, loss: 1 },
        { kind: "validation", step: 2, recall10: 40 },
      ],
      title,
    ) ?? "",
  ];
  for (const svg of drawings) {
    expect(svg).not.toContain("<script>");
    expect(svg).not.toContain("NaN");
    expect(sniffFormat(await svgToPng(svg, 400))).toBe("png");
  }
});

test("a loss curve leaves out what is not a number, and there is none of fewer than two losses", () => {
  const lines = [
    { kind: "train", step: 1, loss: 2 },
    { kind: "train", step: 2, loss: null },
    { kind: "train", step: 3, loss: Number.NaN },
  ];
  expect(lossCurve(lines, "x")).toBeUndefined();
  const svg = lossCurve([...lines, { kind: "train", step: 4, loss: 1 }], "x");
  expect(svg).toContain("at step 4");
  expect(svg).not.toContain("NaN");
});

test("a map is the same for the same seed, and keeps clusters together", () => {
  const rng = seededRng(1, "clusters");
  const rows = Array.from({ length: 60 }, (_, i) =>
    Array.from({ length: 8 }, (_, k) => (k === i % 3 ? 1 : 0) + 0.2 * rng.unit()),
  );
  const matrix = normaliseRows(denseMatrix(rows, 8));
  const layout = umapLayout(matrix, 1);
  expect(umapLayout(matrix, 1)).toEqual(layout);
  const distance = (i: number, j: number): number =>
    Math.hypot(
      (layout[i]?.[0] ?? 0) - (layout[j]?.[0] ?? 0),
      (layout[i]?.[1] ?? 0) - (layout[j]?.[1] ?? 0),
    );
  for (let i = 0; i < 60; i++) {
    const nearest = layout
      .map((_, j) => j)
      .filter((j) => j !== i)
      .sort((a, b) => distance(i, a) - distance(i, b))[0];
    expect((nearest ?? 0) % 3).toBe(i % 3);
  }
});

test("an evaluation is drawn whole: floors, map and retrieval, as SVG and PNG", async () => {
  const dataset = await madeUpDataset({ groupCount: 60 });
  const selection = selectRows(dataset, { split: "test", modalities: ["image"] });
  const images = await loadImages(dataset, dataset.examples, { maxPatches: 4, workers: 0 });
  const place = (rows: readonly { example: { group: string } }[]) =>
    denseMatrix(
      rows.map(({ example }) => {
        const rng = seededRng(1, example.group);
        return Array.from({ length: 6 }, () => rng.unit() - 0.5);
      }),
      6,
    );
  const { fit, test: judged } = selection.rows.image ?? { fit: [], test: [] };
  const space: Space = {
    name: "made-up",
    kind: "encoder",
    dimension: 6,
    cuts: [6],
    points: { image: { fit: place(fit), test: place(judged) } },
  };
  const own = await measureSpace(space, selection);
  const metrics = own.cuts[0];
  if (metrics === undefined) throw new Error("one cut was measured");
  const evaluation: Evaluation = {
    schemaVersion: 1,
    encoder: { name: "made-up", dimension: 6, cuts: [6] },
    dataset: { name: "made-up", digest: "", split: "test", labels: dataset.labels, rows: {} },
    protocol: {
      knn: { k: 20, temperature: 0.07 },
      probe: { c: 0.01 },
      differential: { masks: 4, rowsMax: 1 },
    },
    metrics,
    results: [own],
    notes: [],
    seconds: 0,
  };
  const { paths } = await drawPlots(
    { evaluation, selection, space, images },
    { folder, run: undefined },
  );
  expect(paths.map((path) => path.slice(folder.length + 1))).toEqual(
    ["floors", "map-image", "retrieval-image-to-image"].flatMap((name) => [
      `${name}.svg`,
      `${name}.png`,
    ]),
  );
  for (const path of paths) {
    expect(sniffFormat(readFileSync(path))).toBe(path.endsWith(".png") ? "png" : "svg");
  }
  // Perfect retrieval: every row's first candidate has the tick, no row says where the right one is.
  const sheet = readFileSync(join(folder, "retrieval-image-to-image.svg"), "utf8");
  expect(sheet.match(/<image /g)?.length).toBe(8 * 6);
  expect(sheet).not.toContain("right at");
});

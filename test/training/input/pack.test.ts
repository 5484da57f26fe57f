/** Rows packed as `packTokens` packs them: the one rule of what a batch looks like. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { assert } from "../../../base/errors.ts";
import { packTokens } from "../../../models/batch.ts";
import { inkOf } from "../../../models/stems/ink.ts";
import { patchify } from "../../../tokenizers/image/patches.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { augmentSettings, drawView, renderView, viewScratch } from "../../../training/augment.ts";
import { BatchMemory } from "../../../training/input/memory.ts";
import { packRows } from "../../../training/input/pack.ts";
import type { PictureRow, TextRow } from "../../../training/sampler.ts";

const memory = new BatchMemory(); // used again and again, as in training

function pictureOf(columns: number, rows: number, seed: number): PictureRow["image"] {
  const rng = seededRng(seed, "picture");
  const [width, height] = [16 * columns, 16 * rows];
  return {
    width,
    height,
    pixels: Uint8Array.from({ length: width * height * 3 }, () => rng.uniform(256)),
  };
}

/** Which of `count` units are seen, by the bits of `choice`; undefined: all. */
function visibleOf(count: number, choice: number): { readonly visible?: Uint32Array } {
  if (choice === 0) return {};
  return {
    visible: Uint32Array.from({ length: count }, (_, n) => n).filter((n) => (choice >> n) & 1),
  };
}

test("texts", () => {
  const text = fc.record({
    ids: fc.int32Array({ min: 0, max: 8191, maxLength: 9 }),
    choice: fc.nat(511),
  });
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), (texts) => {
      const rows = texts.map(({ ids, choice }): TextRow => ({
        kind: "text",
        ids,
        ...visibleOf(ids.length, choice),
      }));
      memory.reset();
      const inputs = rows.map(({ ids, ...row }) => ({
        ...row,
        tokens: { kind: "ids", modality: "text", ids } as const,
      }));
      expect(packRows(rows, memory)).toEqual(
        packTokens(inputs.map(({ kind: _kind, ...input }) => input)),
      );
    }),
    { numRuns: 50 },
  );
});

test("pictures of several sizes, as they are and changed, whole and with hidden patches", () => {
  const settings = augmentSettings.parse({});
  const picture = fc.record({
    columns: fc.integer({ min: 1, max: 3 }),
    rows: fc.integer({ min: 1, max: 3 }),
    seed: fc.nat(99),
    choice: fc.nat(511),
    changed: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(picture, { minLength: 1, maxLength: 4 }), (pictures) => {
      const rows = pictures.map(({ columns, rows: lines, seed, choice, changed }): PictureRow => {
        const image = pictureOf(columns, lines, seed);
        return {
          kind: "picture",
          image,
          ...visibleOf(columns * lines, choice),
          ...(changed ? { view: drawView(image, settings, seededRng(seed, "view")) } : {}),
        };
      });
      const plain = rows.map(({ image, visible }) => ({
        tokens: patchify(image),
        ...(visible === undefined ? {} : { visible }),
      }));
      const expected = packTokens(plain);
      assert(expected.kind === "patches" && expected.patches instanceof Uint8Array, "bytes");
      const ink = inkOf(expected.patches);
      const units = expected.units * 768;
      rows.forEach(({ image, view }, b) => {
        const positions = new Uint32Array(image.pixels.length / 768).keys();
        const scratch = viewScratch(image);
        if (view !== undefined)
          renderView(image, view, positions, ink.subarray(b * units), scratch);
      });
      // What is hidden is nothing at all.
      expected.visible.forEach((seen, n) => {
        if (seen === 0) ink.fill(0, n * 768, (n + 1) * 768);
      });
      memory.reset();
      expect(packRows(rows, memory)).toEqual({ ...expected, patches: ink });
    }),
    { numRuns: 30 },
  );
});

test("rows of two kinds, or none, or a picture off the grid are a bug", () => {
  const image = pictureOf(1, 1, 1);
  const text: TextRow = { kind: "text", ids: Int32Array.of(1) };
  const picture: PictureRow = { kind: "picture", image };
  expect(() => packRows([], memory)).toThrow(/at least one row/);
  expect(() => packRows([picture, text], memory)).toThrow(/one kind/);
  expect(() => packRows([text, picture], memory)).toThrow(/one kind/);
  const odd = { ...image, width: 15 };
  expect(() => packRows([{ kind: "picture", image: odd }], memory)).toThrow(/multiple of 16/);
});

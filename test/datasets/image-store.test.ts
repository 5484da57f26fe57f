/** Pictures in memory that threads share. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { GreyLevels } from "../../datasets/dataset.ts";
import {
  greyPixels,
  ImageStore,
  PixelMemory,
  type KeptPicture,
} from "../../datasets/image-store.ts";

test("pixels laid into shared memory stay what they were, however many and large", () => {
  const memory = new PixelMemory();
  const lengths = fc.array(fc.integer({ min: 0, max: 700_000 }), { maxLength: 8 });
  fc.assert(
    fc.property(lengths, fc.nat(255), (sizes, first) => {
      const added = sizes.map((length, i) =>
        memory.add(new Uint8Array(length).fill((first + i) % 256)),
      );
      added.forEach((pixels, i) => {
        expect(pixels.buffer).toBeInstanceOf(SharedArrayBuffer);
        expect(pixels.length).toBe(sizes[i]);
        expect(pixels.every((value) => value === (first + i) % 256)).toBe(true);
      });
    }),
    { numRuns: 10 },
  );
});

test("grey levels fill squares inside a black margin, each equal in red, green and blue", () => {
  const grey: GreyLevels = {
    levels: Uint8Array.of(10, 20, 30, 40, 50, 60),
    columns: 3,
    rows: 2,
    zoom: 2,
    margin: 1,
  };
  const plane = [
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 10, 10, 20, 20, 30, 30, 0],
    [0, 10, 10, 20, 20, 30, 30, 0],
    [0, 40, 40, 50, 50, 60, 60, 0],
    [0, 40, 40, 50, 50, 60, 60, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
  ].flat();
  expect([...greyPixels(grey)]).toEqual(plane.flatMap((value) => [value, value, value]));
});

test("what is sent to another thread gives the same pictures there, in the same memory", () => {
  const memory = new PixelMemory();
  const size = { width: 2, height: 2, sourceWidth: 9, sourceHeight: 9 };
  const grey = { levels: memory.add(Uint8Array.of(7)), columns: 1, rows: 1, zoom: 2, margin: 0 };
  const store = new ImageStore(
    new Map<string, KeptPicture>([
      ["pixels", { ...size, pixels: memory.add(new Uint8Array(12).fill(5)) }],
      ["grey", { ...size, grey }],
      ["other", { ...size, pixels: memory.add(new Uint8Array(12)) }],
    ]),
    { skipped: [], sizeBytes: 36, decodedCount: 0 },
  );
  const sent = structuredClone(store.share(["grey", "pixels", "never loaded"]));
  const there = ImageStore.ofShared(sent);
  expect(there.count).toBe(2);
  for (const id of ["pixels", "grey"]) expect(there.get(id)).toEqual(store.get(id));
  expect(there.get("grey")).toEqual({ ...size, pixels: new Uint8Array(12).fill(7) });
  // Memory is shared, not copied: what is written here is read there.
  store.get("pixels").pixels[0] = 99;
  expect(there.get("pixels").pixels[0]).toBe(99);
});

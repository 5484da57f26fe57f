import { tableFromIPC } from "apache-arrow";
import fc from "fast-check";
import { parquetReadObjects } from "hyparquet";
import { expect, test } from "vitest";
import { writeEmbeddingsArrow } from "../../datasets/arrow.ts";
import type { EmbeddingRow } from "../../datasets/embeddings.ts";
import { writeNpy } from "../../datasets/npy.ts";
import { writeEmbeddingsParquet } from "../../datasets/parquet.ts";

const DIMENSION = 3;
const rows = fc.array(
  fc.record({
    id: fc.string({ unit: "grapheme" }),
    modality: fc.constantFrom("text", "image"),
    embedding: fc
      .array(fc.float({ noNaN: true }), { minLength: DIMENSION, maxLength: DIMENSION })
      .map((values) => Float32Array.from(values)),
  }),
  { minLength: 1, maxLength: 10 },
);
const plain = (list: readonly EmbeddingRow[]): unknown =>
  list.map(({ embedding, ...rest }) => ({ ...rest, embedding: Array.from(embedding) }));

test("embeddings come back from Arrow bit for bit, as a list of fixed size", () => {
  fc.assert(
    fc.property(rows, (list) => {
      const table = tableFromIPC(writeEmbeddingsArrow(list, DIMENSION));
      expect(table.schema.fields.map((field) => `${field.name}: ${field.type}`)).toEqual([
        "id: Utf8",
        "modality: Utf8",
        `embedding: FixedSizeList[${DIMENSION}]<Float32>`,
      ]);
      const read = table.toArray().map((row): unknown => {
        const { id, modality, embedding } = row as unknown as EmbeddingRow;
        return { id, modality, embedding: [...embedding] };
      });
      expect(read).toEqual(plain(list));
    }),
  );
});

test("an Arrow file of no embeddings still tells the dimension", () => {
  const table = tableFromIPC(writeEmbeddingsArrow([], 5));
  expect(table.numRows).toBe(0);
  expect(`${table.schema.fields[2]?.type}`).toBe("FixedSizeList[5]<Float32>");
});

test("embeddings come back from Parquet bit for bit", async () => {
  await fc.assert(
    fc.asyncProperty(rows, async (list) => {
      const bytes = writeEmbeddingsParquet(list);
      const read = await parquetReadObjects({ file: bytes.slice().buffer });
      expect(read).toEqual(plain(list));
    }),
    { numRuns: 30 },
  );
});

test("a .npy file has NumPy's header, aligned, and the values in order", () => {
  fc.assert(
    fc.property(fc.nat(20), fc.nat(20), (rowCount, columnCount) => {
      const values = Float32Array.from({ length: rowCount * columnCount }, (_, i) => i - 7.25);
      const file = Buffer.from(writeNpy({ values, rowCount, columnCount }));
      expect(file.toString("latin1", 0, 6)).toBe("\x93NUMPY");
      expect([...file.subarray(6, 8)]).toEqual([1, 0]);
      const dataAt = 10 + file.readUInt16LE(8);
      expect(dataAt % 64).toBe(0);
      const header = file.toString("latin1", 10, dataAt);
      expect(header).toMatch(/^\{.*\} *\n$/);
      expect(header).toContain(`'shape': (${rowCount}, ${columnCount})`);
      expect(header).toContain("'descr': '<f4', 'fortran_order': False");
      const read = Array.from(values, (_, i) => file.readFloatLE(dataAt + 4 * i));
      expect(read).toEqual(Array.from(values));
      expect(file.length).toBe(dataAt + 4 * values.length);
    }),
  );
});

/** Apache Arrow files: tables in, embeddings out. The one door of apache-arrow. */
import { readFile, stat } from "node:fs/promises";
import {
  Field,
  FixedSizeList,
  Float32,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  StructRow,
  Table as ArrowTable,
  tableFromIPC,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { assert } from "../base/errors.ts";
import type { EmbeddingRow } from "./embeddings.ts";
import {
  checkFileSize,
  checkRowCount,
  classNamesOfMetadata,
  malformed,
  unreadCompression,
  type Table,
} from "./table.ts";

/** The end of an IPC stream: continuation marker and a length of zero. */
const STREAM_END = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
const FILE_MAGIC = "ARROW1";

/**
 * An Arrow IPC file or stream, uncompressed, as pyarrow and Hugging Face's datasets write them.
 * @throws SomaError MANIFEST_MALFORMED (corrupt), MANIFEST_COMPRESSION (usage), MANIFEST_TOO_LARGE (refused)
 */
export async function readArrow(path: string): Promise<Table> {
  checkFileSize(path, (await stat(path)).size);
  const bytes = await readFile(path);
  // The library takes a stream that was cut between two batches for a complete one.
  if (!isComplete(bytes))
    throw malformed(path, "end of file", "the file is cut short or not Arrow");
  let table: ArrowTable;
  try {
    table = tableFromIPC(bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    if (why.includes("codec not found")) {
      throw unreadCompression(path, "write it uncompressed, or as Parquet", cause);
    }
    throw malformed(path, "whole file", `it is not a readable Arrow file (${why})`, cause);
  }
  checkRowCount(path, table.numRows);
  return {
    columns: table.schema.fields.map((field) => field.name),
    rowCount: table.numRows,
    readColumn: (name) => {
      const column = table.getChild(name);
      assert(column !== null, `the table has no column ${name}`);
      return Promise.resolve(Array.from(column, plainValue));
    },
    place: (rowIndex) => `row ${rowIndex}`,
    classNames: classNamesOfMetadata(table.schema.metadata.get("huggingface")),
  };
}

/** A file ends with its magic word, a stream with its end marker. */
function isComplete(bytes: Buffer): boolean {
  if (bytes.length < 16) return false;
  if (bytes.toString("latin1", 0, 6) === FILE_MAGIC) {
    return bytes.toString("latin1", bytes.length - 6) === FILE_MAGIC;
  }
  return bytes.subarray(-8).equals(Uint8Array.from(STREAM_END));
}

/** Structs as plain records; everything else is plain already. */
function plainValue(value: unknown): unknown {
  return value instanceof StructRow ? value.toJSON() : value;
}

/**
 * Embeddings as an Arrow IPC file: id utf8, modality utf8, embedding fixed_size_list<float32>[dimension].
 * @param rows all of one dimension; may be empty, the list is then of size `dimension`
 */
export function writeEmbeddingsArrow(rows: readonly EmbeddingRow[], dimension: number): Uint8Array {
  const values = new Float32Array(rows.length * dimension);
  for (const [index, { id, embedding }] of rows.entries()) {
    assert(
      embedding.length === dimension,
      `embedding ${id} has ${embedding.length} values, not ${dimension}`,
    );
    values.set(embedding, index * dimension);
  }
  const ids = vectorFromArray(
    rows.map(({ id }) => id),
    new Utf8(),
  );
  const modalities = vectorFromArray(
    rows.map(({ modality }) => modality),
    new Utf8(),
  );
  const listType = new FixedSizeList(dimension, new Field("item", new Float32(), false));
  const list = makeData({
    type: listType,
    length: rows.length,
    nullCount: 0,
    child: makeData({ type: new Float32(), length: values.length, nullCount: 0, data: values }),
  });
  const fields = [
    new Field("id", new Utf8(), false),
    new Field("modality", new Utf8(), false),
    new Field("embedding", listType, false),
  ];
  const schema = new Schema(fields);
  const [idData] = ids.data;
  const [modalityData] = modalities.data;
  assert(idData !== undefined && modalityData !== undefined, "a vector has at least one chunk");
  const struct = makeData({
    type: new Struct(fields),
    length: rows.length,
    nullCount: 0,
    children: [idData, modalityData, list],
  });
  return tableToIPC(new ArrowTable(schema, new RecordBatch(schema, struct)), "file");
}

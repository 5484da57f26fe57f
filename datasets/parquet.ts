/** Parquet files: tables in, embeddings out. The one door of hyparquet and hyparquet-writer. */
import { stat } from "node:fs/promises";
import * as zlib from "node:zlib";
import {
  asyncBufferFromFile,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
} from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
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

/** Beyond snappy, which hyparquet has itself. Zstandard came to Node with 22.15. */
const COMPRESSORS: Compressors = {
  GZIP: (input, outputLength) => zlib.gunzipSync(input, { maxOutputLength: outputLength }),
  BROTLI: (input, outputLength) =>
    zlib.brotliDecompressSync(input, { maxOutputLength: outputLength }),
  ...zstandard(),
};

/** @throws SomaError MANIFEST_MALFORMED (corrupt), MANIFEST_COMPRESSION (usage), MANIFEST_TOO_LARGE (refused) */
export async function readParquet(path: string): Promise<Table> {
  checkFileSize(path, (await stat(path)).size);
  let file: AsyncBuffer;
  let metadata: FileMetaData;
  try {
    file = await asyncBufferFromFile(path); // read in slices, never whole
    metadata = await parquetMetadataAsync(file);
  } catch (cause) {
    throw unreadable(path, cause);
  }
  const rowCount = Number(metadata.num_rows);
  checkRowCount(path, rowCount);
  return {
    columns: parquetSchema(metadata).children.map((child) => child.element.name),
    rowCount,
    readColumn: async (name) => {
      try {
        // utf8 off: bytes without a string annotation stay bytes, as pictures must.
        const rows = await parquetReadObjects({
          file,
          metadata,
          columns: [name],
          utf8: false,
          compressors: COMPRESSORS,
        });
        assert(rows.length === rowCount, `${rows.length} rows read, ${rowCount} promised`);
        return rows.map((row): unknown => row[name]);
      } catch (cause) {
        throw unreadable(path, cause);
      }
    },
    place: (rowIndex) => `row ${rowIndex}`,
    classNames: classNamesOfMetadata(
      metadata.key_value_metadata?.find(({ key }) => key === "huggingface")?.value,
    ),
  };
}

function unreadable(path: string, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  if (why.includes("unsupported compression codec")) {
    return unreadCompression(path, "write it with snappy, gzip, brotli or no compression", cause);
  }
  return malformed(path, "whole file", `it is not a readable Parquet file (${why})`, cause);
}

function zstandard(): Compressors {
  const decompress = (zlib as { zstdDecompressSync?: (input: Uint8Array) => Uint8Array })
    .zstdDecompressSync;
  return decompress === undefined ? {} : { ZSTD: (input) => decompress(input) };
}

/** Embeddings as Parquet: id and modality strings, embedding list<float>. */
export function writeEmbeddingsParquet(rows: readonly EmbeddingRow[]): Uint8Array {
  return new Uint8Array(
    parquetWriteBuffer({
      schema: [
        { name: "root", num_children: 3 },
        { name: "id", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
        {
          name: "modality",
          type: "BYTE_ARRAY",
          converted_type: "UTF8",
          repetition_type: "REQUIRED",
        },
        {
          name: "embedding",
          converted_type: "LIST",
          repetition_type: "REQUIRED",
          num_children: 1,
        },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", type: "FLOAT", repetition_type: "REQUIRED" },
      ],
      columnData: [
        { name: "id", data: rows.map(({ id }) => id) },
        { name: "modality", data: rows.map(({ modality }) => modality) },
        { name: "embedding", data: rows.map(({ embedding }) => Array.from(embedding)) },
      ],
    }),
  );
}

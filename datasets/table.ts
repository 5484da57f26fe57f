/**
 * A table of a user's data, whatever file it came from: named columns, read one at a time. Values are what the
 * format gives (string, number, bigint, boolean, bytes, struct, null); rows.ts checks and narrows them.
 */
import { SomaError } from "../base/errors.ts";

/** Rows of one manifest at most. */
export const TABLE_ROWS_MAX = 5_000_000;
/** Bytes of one row of text at most: an 8 MiB picture is 11 MiB in base64. */
export const ROW_BYTES_MAX = 16 << 20;
/** Bytes of a file that is read whole (CSV, Parquet, Arrow); above this, several files or JSONL. */
export const WHOLE_FILE_BYTES_MAX = 2 * 2 ** 30 - 1;

export interface Table {
  readonly columns: readonly string[];
  readonly rowCount: number;
  /** One value a row; undefined or null where the row has none. */
  readColumn(name: string): Promise<readonly unknown[]>;
  /** Where a row stands in its file, for messages: "line 12" or "row 11". */
  place(rowIndex: number): string;
  /** Names of the classes of integer label columns, where the file tells them (Hugging Face's ClassLabel). */
  readonly classNames: ReadonlyMap<string, readonly string[]>;
}

/** The refusal of a file that does not follow its format. @param place e.g. "line 12" */
export function malformed(path: string, place: string, why: string, cause?: unknown): SomaError {
  return new SomaError(
    {
      code: "MANIFEST_MALFORMED",
      kind: "corrupt",
      what: `${path}, ${place}: ${why}`,
      next: "correct the file and run again",
    },
    { cause },
  );
}

/** The refusal of a sound file whose compression is not read here. */
export function unreadCompression(path: string, remedy: string, cause: unknown): SomaError {
  return new SomaError(
    {
      code: "MANIFEST_COMPRESSION",
      kind: "usage",
      what: `${path} is compressed in a way that is not read here`,
      next: remedy,
    },
    { cause },
  );
}

/** @throws SomaError MANIFEST_TOO_LARGE (refused) */
export function checkRowCount(path: string, rowCount: number): void {
  if (rowCount > TABLE_ROWS_MAX) {
    throw tooLarge(path, `more than ${TABLE_ROWS_MAX} rows`);
  }
}

/** @throws SomaError MANIFEST_TOO_LARGE (refused) */
export function checkFileSize(path: string, sizeBytes: number): void {
  if (sizeBytes > WHOLE_FILE_BYTES_MAX) {
    throw tooLarge(path, `${sizeBytes} bytes, more than ${WHOLE_FILE_BYTES_MAX}`);
  }
}

export function tooLarge(path: string, why: string): SomaError {
  return new SomaError({
    code: "MANIFEST_TOO_LARGE",
    kind: "refused",
    what: `${path} is too large: ${why}`,
    next: "divide it into several files, or keep pictures as files beside it",
  });
}

/** A table from rows that are already in memory. */
export function tableOf(
  columns: readonly string[],
  rows: readonly Readonly<Record<string, unknown>>[],
  place: (rowIndex: number) => string,
  classNames: ReadonlyMap<string, readonly string[]> = new Map(),
): Table {
  return {
    columns,
    rowCount: rows.length,
    readColumn: (name) => Promise.resolve(rows.map((row) => row[name])),
    place,
    classNames,
  };
}

/**
 * Class names from Hugging Face's description of columns: `{"label": {"_type": "ClassLabel", "names": […]}}`.
 * Anything else in it is passed over.
 */
export function classNamesOf(features: unknown): Map<string, readonly string[]> {
  const result = new Map<string, readonly string[]>();
  if (!isRecord(features)) return result;
  for (const [column, feature] of Object.entries(features)) {
    if (!isRecord(feature) || feature["_type"] !== "ClassLabel") continue;
    const names = feature["names"];
    if (Array.isArray(names)) result.set(column, names.map(String));
  }
  return result;
}

/** Class names from the "huggingface" entry that its Arrow and Parquet files carry, if it is there and sound. */
export function classNamesOfMetadata(entry: string | undefined): Map<string, readonly string[]> {
  if (entry === undefined) return new Map();
  try {
    const info = (JSON.parse(entry) as { info?: { features?: unknown } } | null)?.info;
    return classNamesOf(info?.features);
  } catch {
    return new Map();
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * CSV as RFC 4180 has it: a header, comma-separated fields, quotes around fields that hold commas, quotes
 * (doubled) or line breaks. Also tabs instead of commas, a byte order mark, and lone LF. Strict: a file that
 * could be read in two ways is refused with its line number.
 */
import { readFile, stat } from "node:fs/promises";
import {
  checkFileSize,
  checkRowCount,
  malformed,
  ROW_BYTES_MAX,
  tableOf,
  tooLarge,
  type Table,
} from "./table.ts";

/** Bytes of a CSV file at most: it is decoded into one string, and strings end at half a gigabyte. */
const CSV_BYTES_MAX = 256 << 20;

interface CsvRecord {
  /** The line the record begins on, from 1. */
  readonly line: number;
  readonly fields: readonly string[];
}

/** @throws SomaError MANIFEST_MALFORMED (corrupt) with the line, MANIFEST_TOO_LARGE (refused) */
export async function readCsv(path: string, delimiter: "," | "\t"): Promise<Table> {
  const { size } = await stat(path);
  checkFileSize(path, size);
  if (size > CSV_BYTES_MAX)
    throw tooLarge(path, `${size} bytes of CSV, more than ${CSV_BYTES_MAX}`);
  const text = decodeUtf8(await readFile(path), path);
  const records = parseCsv(text, delimiter, path);
  const header = records.next();
  if (header.done === true) throw malformed(path, "line 1", "the file is empty: no header");
  const columns = header.value.fields;
  const repeated = columns.find((name, index) => columns.indexOf(name) !== index);
  if (repeated !== undefined)
    throw malformed(path, "line 1", `column "${repeated}" is there twice`);

  const rows: { [column: string]: string }[] = [];
  const lines: number[] = [];
  for (const { line, fields } of records) {
    if (fields.length !== columns.length) {
      const why = `${fields.length} fields, but the header has ${columns.length}`;
      throw malformed(path, `line ${line}`, why);
    }
    rows.push(Object.fromEntries(columns.map((name, index) => [name, fields[index] ?? ""])));
    lines.push(line);
    checkRowCount(path, rows.length);
  }
  return tableOf(columns, rows, (rowIndex) => `line ${lines[rowIndex] ?? 0}`);
}

/** The records of a CSV text, the header first; blank lines are passed over. */
export function* parseCsv(
  text: string,
  delimiter: "," | "\t",
  path: string,
): Generator<CsvRecord, undefined> {
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const start = at;
    const startLine = line;
    const fields: string[] = [];
    for (;;) {
      if (text[at] === '"') {
        const quoted = quotedField(text, at);
        if (quoted === undefined) {
          throw malformed(path, `line ${startLine}`, "a quoted field is not closed");
        }
        fields.push(quoted.value);
        line += countLineFeeds(text, at, quoted.end);
        at = quoted.end;
        if (at < text.length && text[at] !== delimiter && lineBreakLength(text, at) === 0) {
          throw malformed(path, `line ${line}`, "text follows the closing quote of a field");
        }
      } else {
        const end = plainFieldEnd(text, at, delimiter);
        const value = text.slice(at, end);
        if (value.includes('"')) {
          throw malformed(
            path,
            `line ${line}`,
            "a quote inside a field that does not begin with one",
          );
        }
        fields.push(value);
        at = end;
      }
      if (at - start > ROW_BYTES_MAX) {
        throw malformed(
          path,
          `line ${startLine}`,
          `the row is longer than ${ROW_BYTES_MAX} characters`,
        );
      }
      if (text[at] !== delimiter) break;
      at++;
    }
    at += lineBreakLength(text, at);
    line++;
    const blank = fields.length === 1 && fields[0] === "";
    if (!blank) yield { line: startLine, fields };
  }
}

/** The field that begins with the quote at `start`, and where it ends; undefined if it never closes. */
function quotedField(text: string, start: number): { value: string; end: number } | undefined {
  let at = start + 1;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return undefined;
    if (text[quote + 1] !== '"') {
      return { value: text.slice(start + 1, quote).replaceAll('""', '"'), end: quote + 1 };
    }
    at = quote + 2;
  }
}

function plainFieldEnd(text: string, start: number, delimiter: string): number {
  let at = start;
  while (at < text.length && text[at] !== delimiter && lineBreakLength(text, at) === 0) at++;
  return at;
}

/** 2 at CR LF, 1 at LF, else 0. */
function lineBreakLength(text: string, at: number): number {
  if (text[at] === "\n") return 1;
  return text[at] === "\r" && text[at + 1] === "\n" ? 2 : 0;
}

function countLineFeeds(text: string, start: number, end: number): number {
  let count = 0;
  for (let at = text.indexOf("\n", start); at >= 0 && at < end; at = text.indexOf("\n", at + 1)) {
    count++;
  }
  return count;
}

/** Strict UTF-8, a byte order mark removed. @throws SomaError MANIFEST_MALFORMED (corrupt) */
function decodeUtf8(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw malformed(path, "the whole file", "it is not UTF-8", cause);
  }
}

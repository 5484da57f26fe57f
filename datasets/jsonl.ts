/** JSON lines: one object a line, UTF-8, blank lines passed over. Read as a stream, so the file may be of any size. */
import { createReadStream } from "node:fs";
import { checkRowCount, isRecord, malformed, ROW_BYTES_MAX, tableOf, type Table } from "./table.ts";

/** @throws SomaError MANIFEST_MALFORMED (corrupt) with the line, MANIFEST_TOO_LARGE (refused) */
export async function readJsonl(path: string): Promise<Table> {
  const columns = new Set<string>();
  const rows: Readonly<Record<string, unknown>>[] = [];
  const lines: number[] = [];
  let line = 0;
  for await (const bytes of linesOf(path)) {
    line++;
    const row = parseLine(bytes, line, path);
    if (row === undefined) continue;
    for (const name of Object.keys(row)) columns.add(name);
    rows.push(row);
    lines.push(line);
    checkRowCount(path, rows.length);
  }
  return tableOf([...columns], rows, (rowIndex) => `line ${lines[rowIndex] ?? 0}`);
}

/** The object of a line, or undefined if it is blank. */
function parseLine(
  bytes: Uint8Array,
  line: number,
  path: string,
): Readonly<Record<string, unknown>> | undefined {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: line > 1 }).decode(bytes);
  } catch (cause) {
    throw malformed(path, `line ${line}`, "it is not UTF-8", cause);
  }
  if (text.trim() === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw malformed(path, `line ${line}`, `it is not JSON (${why})`, cause);
  }
  if (!isRecord(value)) throw malformed(path, `line ${line}`, "it is not a JSON object");
  return value;
}

/** The lines of a file without their line feeds. @throws SomaError MANIFEST_MALFORMED for a line over ROW_BYTES_MAX */
async function* linesOf(path: string): AsyncGenerator<Uint8Array> {
  let parts: Buffer[] = []; // of the line that is not complete yet
  let partBytes = 0;
  let line = 1;
  const add = (part: Buffer): void => {
    parts.push(part);
    partBytes += part.length;
    if (partBytes > ROW_BYTES_MAX) {
      throw malformed(path, `line ${line}`, `the line is longer than ${ROW_BYTES_MAX} bytes`);
    }
  };
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    const bytes = chunk as Buffer;
    let start = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      add(bytes.subarray(start, end));
      yield Buffer.concat(parts);
      parts = [];
      partBytes = 0;
      line++;
      start = end + 1;
    }
    if (start < bytes.length) add(bytes.subarray(start));
  }
  if (partBytes > 0) yield Buffer.concat(parts);
}

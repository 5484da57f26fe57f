/** What commands print: data to stdout, everything else to stderr; `--json` is one document. */

/** One JSON document on stdout. Typed arrays become plain arrays. */
export function printJson(document: unknown): void {
  process.stdout.write(
    `${JSON.stringify(document, (_key, value: unknown) => (ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<number>) : value))}\n`,
  );
}

/** A line for the person at the terminal, on stderr. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A table with aligned columns: the first left, the others right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const format = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return [
    format(header),
    widths.map((width) => "-".repeat(width)).join("  "),
    ...rows.map(format),
  ].join("\n");
}

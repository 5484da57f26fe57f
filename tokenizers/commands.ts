/**
 * `soma tokenize` and `soma mask`: what the network means by a unit and by a mask, for one's own eyes and for
 * checks by other programs. Heavy modules are loaded by the command that needs them.
 */
import type { Command } from "commander";
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import { printJson } from "../base/terminal.ts";
import type { Mask } from "./mask.ts";
import { MODALITIES, type Modality } from "./modality.ts";

const MODALITY_NAMES = Object.keys(MODALITIES) as readonly Modality[];

/** Characters of pieces shown for one line; --json has all. */
const SHOWN_CHARACTERS_MAX = 160;
/** Columns of a mask's picture when the number of units has no better shape. */
const PREVIEW_COLUMNS = 32;

export function registerTokenizerCommands(program: Command): void {
  program
    .command("tokenize")
    .description(
      "Show a file as the units that the network sees: pieces of text, patches of a picture",
    )
    .argument("<file>", "UTF-8 text up to 1 MiB, a text a line; or a jpeg, png or webp up to 8 MiB")
    .requiredOption("--modality <name>", "text or image")
    .option("--json", "one JSON document on stdout")
    .addHelpText(
      "after",
      examples(
        "soma tokenize --modality text names.txt",
        "soma tokenize --modality image cat.png --json",
      ) +
        "\nA line gives the ids that spm_encode gives, all of them; the network keeps the first 512.\n",
    )
    .action(async (file: string, options: TokenizeOptions) => {
      await tokenize(file, parseModality(options.modality), options.json === true);
    });

  program
    .command("mask")
    .description("Draw the masks that every encoder of a shard must use for one datum")
    .requiredOption("--modality <name>", MODALITY_NAMES.join(", "))
    .requiredOption("--units <count>", "units of the tokenized datum")
    .requiredOption("--digest <hex>", "32 bytes: last leader block of the epoch before, or genesis")
    .requiredOption("--data-hash <hex>", "32 bytes: hash of the datum")
    .option("--item <index>", "place of the datum in its batch", "0")
    .option("--masks <count>", "masks to draw, 1 to 16", "4")
    .option("--json", "one JSON document on stdout")
    .addHelpText(
      "after",
      examples(
        "soma mask --modality image --units 196 --digest $(printf 00%.0s {1..32}) --data-hash $(printf 01%.0s {1..32})",
      ),
    )
    .action(async (options: MaskOptions) => {
      await mask(options);
    });
}

interface TokenizeOptions {
  readonly modality: string;
  readonly json?: true;
}

interface MaskOptions {
  readonly modality: string;
  readonly units: string;
  readonly digest: string;
  readonly dataHash: string;
  readonly item: string;
  readonly masks: string;
  readonly json?: true;
}

async function tokenize(file: string, modality: Modality, json: boolean): Promise<void> {
  const { tokenizedModality } = await import("./registry.ts");
  tokenizedModality(modality); // refuses the others before anything is read
  const bytes = await readInput(file, MODALITIES[modality].inputBytesMax);
  try {
    if (modality === "text") await tokenizeLines(bytes, json);
    else await tokenizeImage(bytes, json);
  } catch (error) {
    throw error instanceof SomaError ? inFile(file, error) : error;
  }
}

/**
 * A text a line, as spm_encode reads a file: lines end at "\n" alone (a "\r" is a character), and the last one
 * needs no end. An empty line has no ids; so has one of spaces. Control characters become byte pieces.
 */
async function tokenizeLines(bytes: Uint8Array, json: boolean): Promise<void> {
  const [{ loadTextTokenizer }, { decodeText }] = await Promise.all([
    import("./text/sentencepiece.ts"),
    import("./text/decode.ts"),
  ]);
  const text = decodeText(bytes);
  const tokenizer = await loadTextTokenizer();
  const texts = (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
  const lines = texts.map((line) => ({ ids: tokenizer.encode(line) }));
  if (json) {
    printJson({ lines });
    return;
  }
  const { unitsMax } = MODALITIES.text;
  const rows = lines.map(({ ids }, index) => {
    const pieces = Array.from(ids, (id) => tokenizer.piece(id)).join(" ");
    const count = ids.length > unitsMax ? `${ids.length}, ${unitsMax} kept` : `${ids.length}`;
    return `${index + 1}  (${count})  ${shortened(pieces)}\n`;
  });
  process.stdout.write(rows.join(""));
}

async function tokenizeImage(bytes: Uint8Array, json: boolean): Promise<void> {
  const [{ decodeImage }, { patchify }, { sha256, toHex }, { assertUnits }] = await Promise.all([
    import("./image/decode.ts"),
    import("./image/patches.ts"),
    import("./hash.ts"),
    import("./units.ts"),
  ]);
  const image = await decodeImage(bytes);
  const { patches, grid } = patchify(image);
  const units = grid.columns * grid.rows;
  assertUnits("image", units);
  const { width, height } = image;
  const digest = toHex(sha256(patches));
  if (json) {
    printJson({ units, width, height, sha256: digest });
    return;
  }
  const rows = [
    ["stored", `${image.sourceWidth} × ${image.sourceHeight} pixels`],
    ["scaled to", `${width} × ${height} pixels`],
    ["units", `${units} = ${grid.columns} × ${grid.rows} patches`],
    ["sha256", digest],
  ];
  process.stdout.write(
    rows.map(([name = "", value = ""]) => `${name.padEnd(10)}${value}\n`).join(""),
  );
}

async function mask(options: MaskOptions): Promise<void> {
  const modality = parseModality(options.modality);
  const units = parseCount("--units", options.units);
  const [{ drawMasks }, { fromHex }, { assertUnits }] = await Promise.all([
    import("./mask.ts"),
    import("./hash.ts"),
    import("./units.ts"),
  ]);
  assertUnits(modality, units);
  const masks = drawMasks({
    modality,
    units,
    digest: parseHash("--digest", fromHex(options.digest)),
    dataHash: parseHash("--data-hash", fromHex(options.dataHash)),
    itemIndex: parseCount("--item", options.item),
    count: parseCount("--masks", options.masks),
  });
  if (options.json === true) printJson({ masks: masks.map(({ hidden }) => hidden) });
  else process.stdout.write(`${masks.map(drawing).join("\n\n")}\n`);
}

/** A mask as a picture: # drawn, · not, in the most square shape the number of units allows. */
function drawing({ length, hidden }: Mask, index: number): string {
  const drawn = new Set(hidden);
  const columns = previewColumns(length);
  const symbols = Array.from({ length }, (_, position) => (drawn.has(position) ? "#" : "·"));
  const rows: string[] = [];
  for (let at = 0; at < length; at += columns) {
    rows.push(symbols.slice(at, at + columns).join(" "));
  }
  return [`mask ${index}: ${hidden.length} of ${length} units drawn`, ...rows].join("\n");
}

/** The smallest divisor that makes at least as many columns as rows, if it is not too wide. */
function previewColumns(length: number): number {
  for (let columns = 1; columns <= PREVIEW_COLUMNS; columns++) {
    if (length % columns === 0 && columns * columns >= length) return columns;
  }
  return PREVIEW_COLUMNS;
}

/**
 * The bytes of a file, which may be a pipe. Never reads more than one byte past the limit.
 * @throws SomaError FILE_NOT_FOUND (not found), FILE_UNREADABLE (failure) or FILE_TOO_LARGE (refused)
 */
async function readInput(file: string, bytesMax: number): Promise<Uint8Array> {
  const { createReadStream } = await import("node:fs");
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(file, { end: bytesMax }))
      chunks.push(chunk as Buffer);
  } catch (cause) {
    throw readError(file, cause);
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.length <= bytesMax) return bytes;
  throw new SomaError({
    code: "FILE_TOO_LARGE",
    kind: "refused",
    what: `${file} has more than ${bytesMax / 2 ** 20} MiB`,
    next: "split it or make it smaller",
  });
}

function readError(file: string, cause: unknown): SomaError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "UNKNOWN";
  const missing = code === "ENOENT" || code === "ENOTDIR";
  return new SomaError(
    {
      code: missing ? "FILE_NOT_FOUND" : "FILE_UNREADABLE",
      kind: missing ? "notFound" : "failure",
      what: missing ? `there is no file ${file}` : `cannot read ${file} (${code})`,
      next: missing ? "check the path" : "name a file that you may read",
    },
    { cause },
  );
}

/** The same refusal, saying which file it is about. */
function inFile(file: string, error: SomaError): SomaError {
  const { code, kind, message, next } = error;
  const failure = { code, kind, what: `${file}: ${message}` };
  return new SomaError(next === undefined ? failure : { ...failure, next }, { cause: error });
}

function parseModality(name: string): Modality {
  const modality = MODALITY_NAMES.find((known) => known === name);
  if (modality !== undefined) return modality;
  const nearest = nearestName(name, MODALITY_NAMES);
  throw usage(
    `unknown modality "${name}"`,
    nearest === undefined
      ? `choose one of ${MODALITY_NAMES.join(", ")}`
      : `did you mean "${nearest}"?`,
  );
}

/** A decimal u32. What the number may be is for the rules to say. */
function parseCount(flag: string, text: string): number {
  const value = Number(text);
  if (/^\d{1,10}$/.test(text) && value < 2 ** 32) return value;
  throw usage(`${flag} is "${text}"`, "give a whole number below 2^32");
}

function parseHash(flag: string, bytes: Uint8Array | undefined): Uint8Array {
  if (bytes?.length === 32) return bytes;
  throw usage(
    `${flag} ${bytes === undefined ? "is not hexadecimal" : `has ${bytes.length} bytes`}`,
    "give 32 bytes as 64 hexadecimal digits",
  );
}

function usage(what: string, next: string): SomaError {
  return new SomaError({ code: "BAD_ARGUMENT", kind: "usage", what, next });
}

function shortened(text: string): string {
  return text.length <= SHOWN_CHARACTERS_MAX ? text : `${text.slice(0, SHOWN_CHARACTERS_MAX - 1)}…`;
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}\n`).join("")}`;
}

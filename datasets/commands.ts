/** `soma data list | prepare | inspect`. Heavy modules are loaded by the command that needs them. */
import { InvalidArgumentError, type Command } from "commander";
import { writeFileAtomic } from "../base/files.ts";
import { SomaError } from "../base/errors.ts";
import { terminalProgress } from "../base/progress.ts";
import { printJson, say, table } from "../base/terminal.ts";
import { SPLITS } from "./dataset.ts";
import type { DatasetReport, Spread } from "./inspect.ts";

/** Labels and variants shown to people; --json has all. */
const SHOWN_MAX = 12;
const PATCHES_MAX = 196;

export function registerDataCommands(program: Command): void {
  const data = program
    .command("data")
    .description("Datasets: what there is, and what is in one")
    .addHelpText("after", examples("soma data list", "soma data inspect emoji --out emoji.png"));

  data
    .command("list")
    .description("List the datasets that can be named")
    .option("--json", "one JSON document on stdout")
    .addHelpText("after", examples("soma data list", "soma data list --json"))
    .action(async (options: { readonly json?: true }) => {
      await listDatasets(options.json === true);
    });

  data
    .command("prepare")
    .description("Decode a dataset's pictures into the cache, so that training starts at once")
    .argument("<dataset>", "a dataset's name, a manifest, or a folder")
    .option("--max-patches <count>", "patches of a picture's grid at most", patchCount, 16)
    .option("--trim", "cut white margins away first, as the emoji recipes ask for")
    .option("--skip-corrupt", "leave out pictures that cannot be decoded")
    .option("--json", "one JSON document on stdout")
    .addHelpText(
      "after",
      examples("soma data prepare emoji", "soma data prepare mine.jsonl --max-patches 196"),
    )
    .action(async (name: string, options: PrepareOptions) => {
      await prepareDataset(name, options);
    });

  data
    .command("inspect")
    .description("Count, measure and show a dataset, and look for what leaks between its splits")
    .argument("<dataset>", "a dataset's name, a manifest, or a folder")
    .option("--out <file>", "write a contact sheet of its pictures (.png)", pngFile)
    .option("--max-patches <count>", "patches of a picture's grid at most", patchCount, 16)
    .option("--trim", "cut white margins away first, as the emoji recipes ask for")
    .option("--json", "one JSON document on stdout")
    .addHelpText(
      "after",
      examples("soma data inspect emoji --out emoji.png", "soma data inspect mine.csv --json"),
    )
    .action(async (name: string, options: InspectOptions) => {
      await inspect(name, options);
    });
}

interface PrepareOptions {
  readonly maxPatches: number;
  readonly trim?: true;
  readonly skipCorrupt?: true;
  readonly json?: true;
}

interface InspectOptions {
  readonly maxPatches: number;
  readonly trim?: true;
  readonly out?: string;
  readonly json?: true;
}

async function listDatasets(json: boolean): Promise<void> {
  const { DATASETS } = await import("./registry.ts");
  const datasets = DATASETS.map(({ name, summary }) => ({ name, summary }));
  if (json) {
    printJson({ datasets });
    return;
  }
  const width = Math.max(...datasets.map(({ name }) => name.length));
  for (const { name, summary } of datasets) {
    process.stdout.write(`${name.padEnd(width)}  ${summary}\n`);
  }
}

async function prepareDataset(name: string, options: PrepareOptions): Promise<void> {
  const { maxPatches } = options;
  const [{ loadDataset }, { loadImages }] = await Promise.all([
    import("./registry.ts"),
    import("./images.ts"),
  ]);
  const startedMs = performance.now();
  const progress = terminalProgress({ label: `decoding ${name}`, unit: "picture" });
  const dataset = await loadDataset(name);
  const images = await loadImages(dataset, dataset.examples, {
    maxPatches,
    trim: options.trim === true,
    progress,
    skipCorrupt: options.skipCorrupt === true,
  });
  const seconds = (performance.now() - startedMs) / 1000;
  if (images.decodedCount > 0) progress.finish();
  for (const { id, where, reason } of images.skipped)
    say(`left out: "${id}" (${where}): ${reason}`);
  if (options.json === true) {
    printJson({
      dataset: dataset.name,
      digest: dataset.digest,
      maxPatches,
      pictures: images.count,
      decoded: images.decodedCount,
      skipped: images.skipped,
      sizeBytes: images.sizeBytes,
      seconds,
    });
    return;
  }
  say(
    `${dataset.name}: ${images.count} pictures ready (${images.decodedCount} decoded now, ${megabytes(images.sizeBytes)}) in ${seconds.toFixed(1)} s`,
  );
}

async function inspect(name: string, options: InspectOptions): Promise<void> {
  const [{ loadDataset }, { loadImages }, { inspectDataset }] = await Promise.all([
    import("./registry.ts"),
    import("./images.ts"),
    import("./inspect.ts"),
  ]);
  const dataset = await loadDataset(name);
  const progress = terminalProgress({ label: `decoding ${name}`, unit: "picture" });
  const images = await loadImages(dataset, dataset.examples, {
    maxPatches: options.maxPatches,
    trim: options.trim === true,
    progress,
    skipCorrupt: true, // reported below
  });
  if (images.decodedCount > 0) progress.finish();
  const report = await inspectDataset(dataset, images);
  if (options.out !== undefined) {
    const [{ contactSheet }, { encodePng }] = await Promise.all([
      import("./contact-sheet.ts"),
      import("../tokenizers/image/decode.ts"),
    ]);
    const sheet = contactSheet(dataset, images);
    if (sheet === undefined) throw noPictures(dataset.name);
    await writeFileAtomic(options.out, await encodePng(sheet));
  }
  if (options.json === true) printJson({ ...report, contactSheet: options.out ?? null });
  else printReport(report, options.out);
}

function noPictures(name: string): SomaError {
  return new SomaError({
    code: "NO_PICTURES",
    kind: "usage",
    what: `dataset ${name} has no pictures to show`,
    next: "leave --out away",
  });
}

function printReport(report: DatasetReport, contactSheet: string | undefined): void {
  const lines = [
    `${report.name}: ${report.description}`,
    `licence  ${report.licence}`,
    `digest   ${report.digest}`,
    "",
    table(
      ["split", "examples", "groups", "texts", "pictures"],
      SPLITS.map((split) => {
        const { examples, groups, texts, pictures } = report.splits[split];
        return [split, `${examples}`, `${groups}`, `${texts}`, `${pictures}`];
      }),
    ),
    "",
    ...frequencyLine("labels", report.labels),
    ...frequencyLine("variants", report.variants),
  ];
  const { pictures, texts } = report;
  if (pictures !== undefined) {
    lines.push(
      `pictures  ${pictures.count} (${pictures.distinct} distinct), width ${describe(pictures.width)}, height ${describe(pictures.height)} pixels`,
    );
  }
  if (texts !== undefined) {
    lines.push(
      `texts     ${texts.count} (${texts.distinct} distinct), length ${describe(texts.length)} characters`,
    );
  }
  process.stdout.write(`${lines.join("\n")}\n`);
  for (const { id, where, reason } of pictures?.corrupt ?? []) {
    say(`warning: picture of "${id}" (${where}) cannot be decoded: ${reason}`);
  }
  for (const { ids, splits } of report.pictureLeaks.listed) {
    say(`warning: one picture in ${splits.join(" and ")}: ${ids.join(", ")}`);
  }
  const unlisted = report.pictureLeaks.count - report.pictureLeaks.listed.length;
  if (unlisted > 0) say(`warning: and ${unlisted} more pictures in more than one split`);
  if (report.textLeakCount > 0) {
    say(`note: ${report.textLeakCount} texts are in more than one split`);
  }
  if (contactSheet !== undefined) say(`contact sheet: ${contactSheet}`);
}

/** "labels    12: objects 800, flags 700, …", or nothing. */
function frequencyLine(title: string, counts: Readonly<Record<string, number>>): string[] {
  const entries = Object.entries(counts);
  if (entries.length === 0) return [];
  const shown = entries.slice(0, SHOWN_MAX).map(([name, count]) => `${name} ${count}`);
  const more = entries.length > SHOWN_MAX ? ", …" : "";
  return [`${title.padEnd(9)} ${entries.length}: ${shown.join(", ")}${more}`];
}

function describe({ min, median, max }: Spread): string {
  return min === max ? `${min}` : `${min} to ${max} (median ${median})`;
}

function megabytes(sizeBytes: number): string {
  return `${(sizeBytes / 1e6).toFixed(1)} MB`;
}

function patchCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > PATCHES_MAX) {
    throw new InvalidArgumentError(`a whole number from 1 to ${PATCHES_MAX} is needed`);
  }
  return count;
}

function pngFile(path: string): string {
  if (!path.toLowerCase().endsWith(".png")) {
    throw new InvalidArgumentError("the contact sheet is a .png file");
  }
  return path;
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}\n`).join("")}`;
}

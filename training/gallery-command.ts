/** `soma gallery`: a folder of embedded pictures that `soma serve --gallery` searches. */
import type { Command } from "commander";
import { SILENT, terminalProgress } from "../base/progress.ts";
import { printJson, say } from "../base/terminal.ts";

interface GalleryFlags {
  readonly dataset: string;
  readonly split?: string;
  readonly out: string;
  readonly allPictures?: true;
  readonly skipCorrupt?: true;
  readonly json?: true;
  readonly quiet?: true;
}

export function registerGalleryCommand(program: Command): void {
  program
    .command("gallery")
    .description("embed a dataset's pictures into a folder that `soma serve --gallery` searches")
    .argument("<checkpoint>", "checkpoint or run folder")
    .requiredOption("--dataset <name>", "registered name, or path of a manifest or folder")
    .option("--split <name>", "train, validation or test (default: all)")
    .requiredOption("--out <dir>", "folder to write; replaced if it is there")
    .option("--all-pictures", "every picture of a concept, not only its first")
    .option("--skip-corrupt", "leave out pictures that cannot be decoded")
    .option("--json", "one JSON document on stdout at the end")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Examples:
  soma gallery runs/first --dataset emoji --out runs/first/gallery
  soma serve runs/first --gallery runs/first/gallery`,
    )
    .action(galleryCommand);
}

/** @throws SomaError for every refusal; the folder then does not appear, or stays as it was */
async function galleryCommand(checkpoint: string, flags: GalleryFlags): Promise<void> {
  const [{ loadDataset }, splits, { writeGallery }, { EncoderSession }, { buildGallery }] =
    await Promise.all([
      import("../datasets/registry.ts"),
      import("../datasets/split.ts"),
      import("../models/gallery.ts"),
      import("../models/session.ts"),
      import("./gallery.ts"),
    ]);
  const split = flags.split === undefined ? undefined : splits.requireSplitName(flags.split);
  const quiet = flags.quiet === true;
  const tell = quiet ? (): void => undefined : say;
  const progress = quiet ? SILENT : terminalProgress({ label: "gallery", unit: "picture" });
  const session = await EncoderSession.open(checkpoint);
  try {
    const dataset = await loadDataset(flags.dataset, { warn: tell });
    const examples = split === undefined ? dataset.examples : splits.requireSplit(dataset, split);
    const gallery = await buildGallery(session, dataset, examples, {
      allPictures: flags.allPictures === true,
      skipCorrupt: flags.skipCorrupt === true,
      progress,
      warn: tell,
    });
    await writeGallery(flags.out, gallery);
    progress.finish();
    tell(`${flags.out}: ${gallery.entries.length} pictures of ${gallery.name}`);
    if (flags.json === true) {
      printJson({
        schemaVersion: 1,
        out: flags.out,
        checkpoint: session.checkpoint?.directory ?? checkpoint,
        dataset: gallery.name,
        entries: gallery.entries.length,
      });
    }
  } finally {
    session.dispose();
  }
}

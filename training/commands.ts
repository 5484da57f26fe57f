/** `soma train | embed | gallery | export | tokens`. What computes is loaded when a command runs, so that help is quick. */
import type { Command } from "commander";
import type { EmbedFlags, ExportFlags } from "./embed-command.ts";
import { registerGalleryCommand } from "./gallery-command.ts";
import { RECIPES } from "./recipes.ts";
import type { TokensFlags } from "./tokens-command.ts";
import type { TrainFlags } from "./train-command.ts";

export function registerTrainingCommands(program: Command): void {
  registerTrain(program);
  registerEmbed(program);
  registerGalleryCommand(program);
  registerExport(program);
  registerTokens(program);
}

function registerTrain(program: Command): void {
  program
    .command("train")
    .description("train an encoder by a recipe; saves a run folder that other commands take")
    .argument("[recipe]", RECIPES.map(({ name }) => name).join(", "))
    .option("-c, --config <file>", "YAML or JSON laid over the recipe; flags win over it")
    .option("--dataset <name>", "registered name, or path of a manifest or folder")
    .option("--seconds <n>", "train for this long (start-up not counted)")
    .option("--steps <n>", "train for this many updates of the weights")
    .option("--seed <n>", "everything random follows from it")
    .option("--batch-size <n>", "groups in a batch")
    .option("--learning-rate <x>", "peak of the schedule")
    .option("--workers <n>", "processes that share each batch and the cores (default: 1)")
    .option("--precision <name>", "float32, or bf16 in products of matrices (default: float32)")
    .option("--set <key=value>", "set any key of the config; may be repeated", collect)
    .option("--out <dir>", "run folder (default: a new one in runs/)")
    .option("--resume <run>", 'go on with a run: its folder, or "last"')
    .option("--skip-corrupt", "leave out pictures that cannot be decoded")
    .option("--fast-dev-run", "two steps through everything; keeps no files without --out")
    .option("--overfit-batches <n>", "train on the first n batches only, as a self-test")
    .option("--print-config", "print the resolved config as YAML and stop")
    .option("--json", "one JSON document on stdout at the end")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Examples:
  soma train emoji-image --seconds 150 --seed 1 --out runs/first
  soma train emoji-image-text --dataset my/manifest.jsonl --set encoder.image.layers=1
  soma train emoji-image --dataset my/photos --set objectives.contrastive.from=augment
  soma train --resume last

Flags win over SOMA_* variables (SOMA_BATCH_SIZE=64), those over --config, that over the recipe.`,
    )
    .action(async (recipe: string | undefined, flags: TrainFlags) => {
      const [{ trainCommand }, { OBJECTIVES }] = await Promise.all([
        import("./train-command.ts"),
        import("./objectives/registry.ts"),
      ]);
      await trainCommand(recipe, flags, OBJECTIVES);
    });
}

function registerEmbed(program: Command): void {
  program
    .command("embed")
    .description("embed a dataset into a file: one row per example and modality")
    .argument("<checkpoint>", "checkpoint or run folder")
    .option("--manifest <file>", "JSONL, CSV, Parquet or Arrow file, or a folder")
    .option("--dataset <name>", "registered name or path")
    .option("--split <name>", "train, validation or test (default: all)")
    .requiredOption("--out <file>", "ends in .jsonl, .arrow, .parquet or .npy")
    .option("--dimension <n>", "a Matryoshka cut of the encoder (default: all dimensions)")
    .option("--batch <n>", "inputs handed to the encoder at once", "256")
    .option("--normalize", "scale embeddings to length 1")
    .option("--skip-corrupt", "leave out examples that cannot be read")
    .option("--json", "one JSON document on stdout at the end")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Examples:
  soma embed runs/first --manifest data.jsonl --split test --out embeddings.jsonl
  soma embed runs/first --dataset emoji --out emoji.npy --dimension 64 --normalize`,
    )
    .action(async (checkpoint: string, flags: EmbedFlags) => {
      const { embedCommand } = await import("./embed-command.ts");
      await embedCommand(checkpoint, flags);
    });
}

function registerExport(program: Command): void {
  program
    .command("export")
    .description("copy the encoder of a run into a folder to give away, digests checked")
    .argument("<checkpoint>", "checkpoint or run folder")
    .requiredOption("--out <dir>", "new folder")
    .option("--format <name>", "safetensors", "safetensors")
    .option("--json", "one JSON document on stdout at the end")
    .addHelpText("after", "\nExample:\n  soma export runs/first --out my-encoder")
    .action(async (checkpoint: string, flags: ExportFlags) => {
      const { exportCommand } = await import("./embed-command.ts");
      await exportCommand(checkpoint, flags);
    });
}

function registerTokens(program: Command): void {
  program
    .command("tokens")
    .description("write a dataset as an encoder reads it, for training that goes on in PyTorch")
    .argument("<checkpoint>", "checkpoint or run folder: decides how pictures and texts are cut")
    .option("--manifest <file>", "JSONL, CSV, Parquet or Arrow file, or a folder")
    .option("--dataset <name>", "registered name or path")
    .option("--split <name>", "train, validation or test (default: all)")
    .requiredOption("--out <file>", "JSON lines: ids of texts, patches of pictures")
    .option("--skip-corrupt", "leave out examples that cannot be read")
    .option("--json", "one JSON document on stdout at the end")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      "\nExample:\n  soma tokens runs/first --dataset emoji --split train --out train.jsonl\n\nWhat to do with it: docs/beyond-one-machine.md.",
    )
    .action(async (checkpoint: string, flags: TokensFlags) => {
      const { tokensCommand } = await import("./tokens-command.ts");
      await tokensCommand(checkpoint, flags);
    });
}

function collect(value: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, value];
}

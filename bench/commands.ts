/** `soma evaluate`, `soma runs`, `soma sweep` and `soma bench`. What computes is loaded when a command runs, so that help is quick. */
import type { Command } from "commander";
import { registerConsensusBench } from "./consensus-command.ts";
import { registerRuns } from "./runs-command.ts";
import { registerSweep } from "./sweep-command.ts";
import type { EvaluateFlags } from "./quality/evaluate-command.ts";
import type { SeedsFlags } from "./quality/seeds-command.ts";
import type { EmbedBenchFlags } from "./speed/embed-command.ts";
import type { ServingBenchFlags } from "./speed/serving-command.ts";
import type { TrainStepFlags } from "./speed/train-step-command.ts";

export function registerBenchCommands(program: Command): void {
  registerEvaluate(program);
  registerRuns(program);
  registerSweep(program);
  const bench = program
    .command("bench")
    .description("measure what stands in bench/RESULTS.md again: quality over seeds, speed")
    .addHelpText(
      "after",
      "\nExamples:\n  soma bench quality emoji-image --seeds 1,2,3 --seconds 150\n  soma bench serving runs/first --requests 2000\n  soma bench train-step --peer\n  soma bench embed --checkpoint runs/first --peer",
    );
  registerQuality(bench);
  registerServing(bench);
  registerConsensusBench(bench);
  registerTrainStep(bench);
  registerEmbedBench(bench);
}

function registerEvaluate(program: Command): void {
  program
    .command("evaluate")
    .description(
      "judge an encoder: retrieval, k-NN, linear probe, zero-shot, spectrum, differential loss, beside the floors",
    )
    .argument("[checkpoint]", "checkpoint or run folder")
    .option(
      "--dataset <name>",
      "registered name, or path of a manifest or folder (default: the run's own)",
    )
    .option("--split <name>", "test or validation", "test")
    .option(
      "--embeddings <files...>",
      "judge stored embeddings (.jsonl, .arrow, .parquet) instead of a checkpoint",
    )
    .option("--cuts <list>", "prefix lengths of stored embeddings to judge too, e.g. 64,128")
    .option(
      "--text-variants <list>",
      "which texts of a concept are judged, e.g. en,de,ja (default: en, or gloss and lemma)",
    )
    .option("--limit <n>", "at most this many concepts of each split, for a quick look")
    .option("--skip-corrupt", "leave out pictures that cannot be decoded")
    .option("--no-floors", "leave out chance, random init, pixels, PCA and TF-IDF")
    .option("--plots <dir>", "write eval.json and plots (SVG and PNG) there")
    .option("--json", "one JSON document on stdout")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Examples:
  soma evaluate runs/first --plots runs/first/plots
  soma evaluate runs/first --dataset my/manifest.jsonl --split test --json
  soma evaluate --embeddings theirs.jsonl --dataset emoji --cuts 64,128`,
    )
    .action(async (checkpoint: string | undefined, flags: EvaluateFlags) => {
      const { evaluateCommand } = await import("./quality/evaluate-command.ts");
      await evaluateCommand(checkpoint, flags);
    });
}

function registerQuality(bench: Command): void {
  bench
    .command("quality")
    .description("train a recipe with several seeds, judge each run, print mean and spread")
    .argument("<recipe>", "as for soma train")
    .option(
      "--dataset <name>",
      "registered name, or path of a manifest or folder (default: the recipe's)",
    )
    .option("--seeds <list>", "seeds, one run each", "1,2,3")
    .option("--seconds <n>", "training time of each run (default: the recipe's)")
    .option("--steps <n>", "steps of each run instead")
    .option("--set <key=value>", "set any key of the training config; may be repeated", collect)
    .option(
      "--out <dir>",
      "folder for the runs; one that is done is not trained again",
      "runs/bench-quality",
    )
    .option("--json", "one JSON document on stdout")
    .addHelpText(
      "after",
      "\nExample:\n  soma bench quality emoji-image --seeds 1,2,3 --seconds 150",
    )
    .action(async (recipe: string, flags: SeedsFlags) => {
      const { seedsCommand } = await import("./quality/seeds-command.ts");
      await seedsCommand(recipe, flags);
    });
}

function registerServing(bench: Command): void {
  bench
    .command("serving")
    .description("latency, throughput and memory of soma serve under concurrent requests")
    .argument("<checkpoint>", "folder of a checkpoint or of a run that reads text")
    .option("--connections <n>", "requests at a time", "32")
    .option("--requests <n>", "requests that count", "10000")
    .option("--json", "one JSON document on stdout")
    .addHelpText("after", "\nExample:\n  soma bench serving runs/first --requests 2000")
    .action(async (checkpoint: string, flags: ServingBenchFlags) => {
      const { servingBenchCommand } = await import("./speed/serving-command.ts");
      await servingBenchCommand(checkpoint, flags);
    });
}

function registerTrainStep(bench: Command): void {
  bench
    .command("train-step")
    .description("time and memory of one training step of a vision transformer, beside PyTorch")
    .option("--width <n>", "numbers in a token (default: 192)")
    .option("--layers <n>", "transformer layers (default: 6)")
    .option("--heads <n>", "heads of attention (default: 3)")
    .option("--tokens <n>", "tokens of an example (default: 64)")
    .option("--batch <n>", "examples of a step (default: 32; 8 with --growth)")
    .option(
      "--steps <n>",
      "steps that count, and forward passes that count (default: 20; 7 with --growth)",
    )
    .option("--warmup <n>", "steps before those (default: 3; 2 with --growth)")
    .option("--seed <n>", "weights and inputs follow from it (default: 1)")
    .option("--threads <n>", "threads of one operation (default: one a core)")
    .option("--precision <name>", "float32, or bf16 in products of matrices", "float32")
    .option(
      "--peer [python]",
      "in turn with PyTorch, each time in a process of its own (default: $SOMA_PEER_PYTHON, python3)",
    )
    .option("--pairs <n>", "runs of each with --peer (default: 5)")
    .option(
      "--growth",
      "over 16 to 1,024 tokens, widths of 64 to 768 and batches of 1 to 256, with the exponents",
    )
    .option("--out <dir>", "write the JSON document there, and the plot of --growth (SVG and PNG)")
    .option("--json", "one JSON document on stdout")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Examples:
  soma bench train-step --width 192 --layers 6 --heads 3 --tokens 64 --batch 32 --steps 20 --json
  soma bench train-step --peer peer/bin/python --pairs 7
  soma bench train-step --growth --peer --out growth
  soma bench train-step --width 32 --layers 1 --heads 1 --tokens 8 --batch 4 --steps 10000`,
    )
    .action(async (flags: TrainStepFlags) => {
      const { trainStepCommand } = await import("./speed/train-step-command.ts");
      await trainStepCommand(flags);
    });
}

function registerEmbedBench(bench: Command): void {
  bench
    .command("embed")
    .description("examples a second that a trained checkpoint embeds, beside onnxruntime")
    .requiredOption("--checkpoint <dir>", "checkpoint or run folder")
    .option("--modality <name>", "image or text (default: image if the checkpoint reads pictures)")
    .option("--batch <n>", "examples at a time", "32")
    .option(
      "--size <n>",
      "pixels of a picture's side, or tokens of a text (default: the largest trained for; 32 tokens)",
    )
    .option("--seconds <n>", "time that counts", "10")
    .option("--seed <n>", "inputs follow from it", "1")
    .option("--threads <n>", "threads of one operation (default: one a core)")
    .option("--precision <name>", "float32, or bf16 in products of matrices", "float32")
    .option(
      "--peer",
      "in turn with onnxruntime-node on the same weights and inputs, each time in a process of its own",
    )
    .option("--peer-modules <dir>", "folder whose node_modules has onnxruntime-node", ".")
    .option("--pairs <n>", "runs of each with --peer (default: 5)")
    .option("--json", "one JSON document on stdout")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Examples:
  soma bench embed --checkpoint runs/first --batch 32 --seconds 10 --json
  soma bench embed --checkpoint runs/first --modality text --peer --peer-modules peer`,
    )
    .action(async (flags: EmbedBenchFlags) => {
      const { embedBenchCommand } = await import("./speed/embed-command.ts");
      await embedBenchCommand(flags);
    });
}

function collect(value: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, value];
}

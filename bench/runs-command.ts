/** `soma runs list | show | compare`. It stands here because a comparison is drawn. */
import type { Command } from "commander";
import type { CompareFlags } from "./comparison/compare.ts";

const RUNS = "runs";
const FOLDER = ["--dir, --runs <dir>", "folder of runs", RUNS] as const;

export function registerRuns(program: Command): void {
  const runs = program
    .command("runs")
    .description("look at training runs, and compare them")
    .addHelpText(
      "after",
      "\nExamples:\n  soma runs list\n  soma runs show last\n  soma runs compare runs/a runs/b --out curves.svg",
    );
  runs
    .command("list")
    .description("a line for each run: steps, loss, validation, what is not as in its recipe")
    .option(...FOLDER)
    .option("--json", "one JSON document on stdout")
    .addHelpText("after", "\nExample:\n  soma runs list --json")
    .action(async (flags: { runs: string; json?: boolean }) => {
      const { listRunsCommand } = await import("../training/runs-command.ts");
      await listRunsCommand(flags);
    });
  runs
    .command("show")
    .description("what a run was and how it ended")
    .argument("<run>", 'folder or name of a run, or "last"')
    .option(...FOLDER)
    .option("--json", "one JSON document on stdout, metrics included")
    .addHelpText("after", "\nExamples:\n  soma runs show last\n  soma runs show runs/first --json")
    .action(async (run: string, flags: { runs: string; json?: boolean }) => {
      const { showRunCommand } = await import("../training/runs-command.ts");
      await showRunCommand(run, flags);
    });
  runs
    .command("compare")
    .description("runs side by side: what differs in their configs, and their curves")
    .argument("<runs...>", "two runs or more: folders or names")
    .option(...FOLDER)
    .option("--metric <name>", "figure of the validation that is drawn (default: what they share)")
    .option("--x <name>", "step or seconds", "step")
    .option("--out <file>", "draw the curves: .svg or .png")
    .option("--json", "one JSON document on stdout")
    .addHelpText(
      "after",
      "\nExamples:\n  soma runs compare first second\n  soma runs compare runs/a runs/b runs/c --metric mrr --x seconds --out curves.png",
    )
    .action(async (names: readonly string[], flags: CompareFlags) => {
      const { compareRunsCommand } = await import("./comparison/compare.ts");
      await compareRunsCommand(names, flags);
    });
}

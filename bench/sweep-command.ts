/** `soma sweep`: a search for hyperparameters on this machine, and one trial of it for an engine that spreads them. */
import type { Command } from "commander";
import type { SweepFlags } from "./comparison/sweep.ts";

export function registerSweep(program: Command): void {
  const sweep = program
    .command("sweep")
    .description("search for hyperparameters by successive halving; give it again to go on")
    .argument("<file>", "YAML or JSON: recipe, space, trials, budget (docs/sweeps.md)")
    .option("--out <dir>", "folder of the sweep (default: runs/sweep-NAME)")
    .option("--json", "one JSON document on stdout at the end")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      "\nExamples:\n  soma sweep sweep.yaml --out runs/search\n  soma sweep trial < trial.json",
    )
    .action(async (file: string, flags: SweepFlags) => {
      const { sweepCommand } = await import("./comparison/sweep.ts");
      await sweepCommand(file, flags);
    });
  sweep
    .command("trial")
    .description("one trial: a JSON document on stdin, its result on stdout")
    .option("--json", "as ever: the result is one JSON document")
    .addHelpText(
      "after",
      `\nExample:\n  echo '{"recipe": "tiny", "hyperparameters": {"learningRate": 0.002}, "budget": {"steps": 20}, "out": "runs/a"}' | soma sweep trial`,
    )
    .action(async () => {
      const { trialCommand } = await import("./comparison/sweep.ts");
      await trialCommand();
    });
}

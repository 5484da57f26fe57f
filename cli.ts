#!/usr/bin/env node
/** `soma`: the commands of all wings, and the one place where a refusal becomes a line and an exit code. */
import { Command, CommanderError } from "commander";
import { registerBenchCommands } from "./bench/commands.ts";
import { EXIT_CODES, SomaError } from "./base/errors.ts";
import { SOMA_VERSION } from "./base/version.ts";
import { registerDataCommands } from "./datasets/commands.ts";
import { registerNodeCommands } from "./node/commands.ts";
import { registerTokenizerCommands } from "./tokenizers/commands.ts";
import { registerTrainingCommands } from "./training/commands.ts";

const program = new Command("soma")
  .description("Train encoders of text and images on real data, judge them, serve them.")
  .version(SOMA_VERSION)
  .showSuggestionAfterError()
  .configureHelp({ sortSubcommands: false })
  .addHelpText(
    "after",
    `
Examples:
  soma doctor                                        what this machine has and what is missing
  soma data inspect emoji --out emoji.png            look at a dataset
  soma train emoji-image --seconds 150 --out runs/a  train an encoder
  soma evaluate runs/a --dataset emoji               judge it beside the floors
  soma serve runs/a                                  an OpenAI-compatible endpoint on 127.0.0.1:8080`,
  );

registerDataCommands(program);
registerTokenizerCommands(program);
registerTrainingCommands(program);
registerBenchCommands(program);
registerNodeCommands(program);
throwInsteadOfExit(program);

// `soma … | head` closes our output early: that is no fault of ours, and there is nobody left to tell.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Commander exits 1 on a usage error by itself; ours is 2, like every other bad input. */
function throwInsteadOfExit(command: Command): void {
  command.exitOverride();
  command.commands.forEach(throwInsteadOfExit);
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed the message, or the help that was asked for.
    return error.exitCode === 0 ? 0 : EXIT_CODES.usage;
  }
  if (error instanceof SomaError) {
    process.stderr.write(`${error.line()}\n`);
    if (process.env["SOMA_DEBUG"] !== undefined) process.stderr.write(`${error.stack ?? ""}\n`);
    return error.exitCode;
  }
  process.stderr.write(
    `error[BUG]: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nThis is a fault of soma: please report it with the command you ran.\n`,
  );
  return EXIT_CODES.failure;
}

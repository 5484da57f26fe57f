/** `soma bench consensus`: its flags. What measures is loaded when it runs. */
import type { Command } from "commander";
import type { ConsensusBenchFlags } from "./speed/consensus-command.ts";

export function registerConsensusBench(bench: Command): void {
  bench
    .command("consensus")
    .summary("throughput and latency of consensus on this machine")
    .description(
      "Opaque transactions a second that a committee orders, and how long each takes: validators over loopback TCP with\n" +
        "the real log, or joined in memory. All of them, and their clients, share this machine.",
    )
    .option("--validators <n>", "size of the committee, equal stakes", "4")
    .option("--transaction-bytes <n>", "bytes of a transaction, random, never looked into", "512")
    .option("--load <n>", "transactions a second, offered at a steady rate", "80000")
    .option("--seconds <n>", "time that counts", "15")
    .option("--warm-up <n>", "seconds before", "3")
    .option("--transport <name>", "tcp or memory", "tcp")
    .option(
      "--processes <n>",
      "processes to spread the validators over (default: one each; memory: 1)",
    )
    .option("--crashed <n>", "validators that are never started", "0")
    .option("--delay-ms <n>", "added to each message, one way", "0")
    .option("--round-delay-ms <n>", "least time between two blocks of a validator", "10")
    .option("--log <where>", "disk or memory (default: disk; with --transport memory: memory)")
    .option("--log-dir <folder>", "where the logs go while it runs (default: the system's)")
    .option("--json", "one JSON document on stdout")
    .addHelpText(
      "after",
      `
Examples:
  soma bench consensus --load 80000 --seconds 15 --json
  soma bench consensus --transport memory --load 100000
  soma bench consensus --validators 7 --crashed 2 --delay-ms 50 --load 20000`,
    )
    .action(async (flags: ConsensusBenchFlags) => {
      const { consensusBenchCommand } = await import("./speed/consensus-command.ts");
      await consensusBenchCommand(flags);
    });
}

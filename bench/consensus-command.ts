/** `soma bench consensus`: its flags. What measures is loaded when it runs. */
import type { Command } from "commander";
import type { ConsensusBenchFlags } from "./speed/consensus-command.ts";

export function registerConsensusBench(bench: Command): void {
  bench
    .command("consensus")
    .summary("throughput and latency of consensus on this machine, and how its cost grows")
    .description(
      "Opaque transactions a second that a committee orders, and how long each takes: validators over loopback TCP with\n" +
        "the real log, or joined in memory. All of them, and their clients, share this machine.",
    )
    .option("--validators <n>", "size of the committee, equal stakes", "4")
    .option(
      "--transaction-bytes <n>",
      "bytes of a transaction, random, never looked into (at most 262144)",
      "512",
    )
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
    .option(
      "--growth",
      "instead: committees of growing size in the simulator, what each costs, with the exponents",
    )
    .option("--committees <list>", "with --growth: sizes (default: 4,10,25,50,100)")
    .option("--rounds <n>", "with --growth: rounds that count (default: 1,000 to 10, by the size)")
    .option("--out <dir>", "write the JSON document there, and the plot of --growth (SVG and PNG)")
    .option("--json", "one JSON document on stdout")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
What counts: a transaction is due, is put into a block, signed, fsynced, sent, checked by each validator (signature,
hash, every rule), logged by each, and ordered; its latency ends when the validator that was given it has the commit.
What is left out: a client's connection and signature, decoding, dropping duplicates, executing. What is shared: the
machine's cores, its disk and its loopback, by all validators and all clients. Blocks come every 10 ms at the soonest,
not every 50 as on a network. Each transaction is written once by every validator: the logs take load × bytes × validators
a second, and are removed at the end.

Examples:
  soma bench consensus --load 80000 --seconds 15 --json
  soma bench consensus --transport memory --load 100000
  soma bench consensus --validators 7 --crashed 2 --delay-ms 50 --load 20000
  soma bench consensus --growth --out growth`,
    )
    .action(async (flags: ConsensusBenchFlags) => {
      const { consensusBenchCommand } = await import("./speed/consensus-command.ts");
      await consensusBenchCommand(flags);
    });
}

/**
 * `soma conformance`: answers to shared cases of the protocol's rules, for an outside checker to judge, and two checks
 * that need none: one sequence for every order of delivery, and no decoder that foreign bytes can hurt.
 */
import { type Command, InvalidArgumentError } from "commander";
import { EXIT_CODES, SomaError } from "../base/errors.ts";
import { type Progress, terminalProgress } from "../base/progress.ts";
import { printJson, say } from "../base/terminal.ts";
import type { Answers } from "./conformance/mysticeti.ts";

export function registerConformanceCommand(program: Command): void {
  const conformance = program
    .command("conformance")
    .summary("answer shared cases of the protocol's rules, and try the rules at length")
    .description(
      "Run cases of the protocol's rules and print what this program decides, whatever the file expects;\n" +
        "or try at length what must hold without any case: the order of delivery, the decoders.",
    );
  registerMysticeti(conformance);
  registerDeliveryOrders(conformance);
  registerFuzz(conformance);
}

function registerMysticeti(conformance: Command): void {
  conformance
    .command("mysticeti")
    .description(
      "the consensus: committer, linearizer, threshold clock, block rules, block manager",
    )
    .argument("<file>", "cases in the format of mysticeti-cases.json")
    .option("--json", "one JSON document on stdout: every decision of every case")
    .addHelpText(
      "after",
      "\nExamples:\n  soma conformance mysticeti test/vectors/mysticeti-cases.json --json",
    )
    .action(async (path: string, options: { readonly json?: true }) => {
      const { answerCases, readCaseFile } = await import("./conformance/mysticeti.ts");
      const answers = answerCases(await readCaseFile(path));
      if (options.json === true) printJson(answers);
      else say(describeAnswers(answers));
    });
}

/** For people: every slot that the committer cases decided, then how many other cases were answered. */
export function describeAnswers(answers: Answers): string {
  const lines = answers.cases.flatMap(({ name, calls }) => [
    name,
    ...calls.map((decided, call) => {
      const slots = decided.map(
        ({ round, offset, status, by, block }) =>
          `${round}:${offset} ${status} ${block === undefined ? "" : `${block} `}${by}`,
      );
      return `  call ${call}: ${slots.length === 0 ? "nothing decided" : slots.join(", ")}`;
    }),
  ]);
  const { cases, ...others } = answers;
  const counts = Object.entries(others).map(
    ([group, list]: [string, readonly unknown[]]) => `${list.length} ${group}`,
  );
  return [...lines, `answered: ${cases.length} committer, ${counts.join(", ")}`].join("\n");
}

interface CheckFlags {
  readonly seed: number;
  readonly json?: true;
  readonly quiet?: true;
}

interface OrdersFlags extends CheckFlags {
  readonly validators: number;
  readonly rounds: number;
  readonly orders: number;
  readonly leaders: number;
  readonly gcDepth: number;
}

/** Blocks of the DAG are kept: as many as fit into a default heap. */
const DAG_BLOCKS_MAX = 500_000;

function registerDeliveryOrders(conformance: Command): void {
  conformance
    .command("delivery-orders")
    .description(
      "one DAG drawn from a seed, with as many equivocators as the committee bears, delivered in many\n" +
        "random orders: every order must give one sequence of commits",
    )
    .option("--validators <n>", "size of the committee", wholeNumber, 4)
    .option("--rounds <n>", "rounds of the DAG", wholeNumber, 6000)
    .option("--orders <n>", "random orders of delivery", wholeNumber, 100)
    .option("--seed <n>", "what the DAG and the orders are drawn from", wholeNumber, 1)
    .option("--leaders <n>", "leader slots of a round", wholeNumber, 2)
    .option(
      "--gc-depth <n>",
      "rounds below a committed leader that are still ordered",
      wholeNumber,
      60,
    )
    .option("--json", "one JSON document on stdout")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Ends with exit code 1 if two orders differ.

Examples:
  soma conformance delivery-orders --json
  soma conformance delivery-orders --validators 7 --rounds 2000 --gc-depth 6`,
    )
    .action(async (flags: OrdersFlags) => {
      checkOrdersFlags(flags);
      const { runDeliveryOrders } = await import("./conformance/delivery-orders.ts");
      const progress = progressOf("delivery orders", "order", flags);
      const result = timed(() =>
        runDeliveryOrders({
          ...flags,
          leadersPerRound: flags.leaders,
          onOrder: (done) => {
            progress.update({ done, total: flags.orders });
          },
        }),
      );
      progress.finish();
      const { different } = result;
      report(
        result,
        `${result.orders} orders of ${result.blocks} blocks: ${different.length === 0 ? "one sequence" : `${result.sequences} SEQUENCES, first at order ${different[0]}`} of ${result.commits} commits, digest ${result.digest.slice(0, 16)}, ${result.cpuSeconds} s of CPU`,
        flags,
      );
      if (different.length > 0) process.exitCode = EXIT_CODES.failure;
    });
}

function checkOrdersFlags({ validators, rounds, leaders, gcDepth }: OrdersFlags): void {
  if (validators < 1 || rounds < 1 || validators * rounds > DAG_BLOCKS_MAX) {
    throw usage(
      `${validators} validators in ${rounds} rounds`,
      `take at least 1 of each, and at most ${DAG_BLOCKS_MAX} blocks`,
    );
  }
  if (leaders < 1 || leaders > validators) {
    throw usage(`${leaders} leaders among ${validators} validators`, `take 1 to ${validators}`);
  }
  if (gcDepth < 3) throw usage(`a gc depth of ${gcDepth}`, "take a wave, 3 rounds, or more");
}

interface FuzzFlags extends CheckFlags {
  readonly cases: number;
}

function registerFuzz(conformance: Command): void {
  conformance
    .command("fuzz")
    .description(
      "every decoder of foreign bytes, given random bytes and mutated encodings: each case must be refused by\n" +
        "name or be exactly the encoding of what was read, without a crash and without memory that was only claimed",
    )
    .option("--cases <n>", "inputs, spread over all decoders", wholeNumber, 100_000)
    .option("--seed <n>", "what they are drawn from", wholeNumber, 1)
    .option("--json", "one JSON document on stdout")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Ends with exit code 1 if a case fails; the failing input is printed in hex.

Examples:
  soma conformance fuzz
  soma conformance fuzz --cases 1000000 --seed 1 --json`,
    )
    .action(async (flags: FuzzFlags) => {
      const [{ runFuzz }, { ALL_DECODERS }] = await Promise.all([
        import("./conformance/fuzz.ts"),
        import("./conformance/decoders.ts"),
      ]);
      const progress = progressOf("fuzz", "case", flags);
      const result = timed(() =>
        runFuzz({
          ...flags,
          decoders: ALL_DECODERS,
          onCases: (done) => {
            progress.update({ done, total: flags.cases });
          },
        }),
      );
      progress.finish();
      const { crashes, overAllocations, mismatches } = result;
      const failures = result.failures.map(
        ({ decoder, kind, detail, inputHex }) => `  ${decoder}: ${kind}: ${detail}: ${inputHex}`,
      );
      report(
        result,
        [
          `${result.cases} cases: ${result.accepted} accepted and encoded back, ${result.refused} refused; ${crashes} crashes, ${overAllocations} over-allocations, ${mismatches} other encodings; ${result.cpuSeconds} s of CPU`,
          ...failures,
        ].join("\n"),
        flags,
      );
      if (crashes + overAllocations + mismatches > 0) process.exitCode = EXIT_CODES.failure;
    });
}

function progressOf(label: string, unit: string, { quiet }: CheckFlags): Progress {
  return terminalProgress({ label, unit, ...(quiet === true ? { mode: "none" } : {}) });
}

function report(result: object, text: string, { json }: CheckFlags): void {
  if (json === true) printJson(result);
  else say(text);
}

/** With the CPU time that it took, of this process: nothing else runs in it. */
function timed<T extends object>(run: () => T): T & { readonly cpuSeconds: number } {
  const start = process.cpuUsage();
  const result = run();
  const { user, system } = process.cpuUsage(start);
  return { ...result, cpuSeconds: Math.round((user + system) / 1e5) / 10 };
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

function usage(what: string, next: string): SomaError {
  return new SomaError({ code: "BAD_CHECK", kind: "usage", what, next });
}

/** `soma simulate`: a whole network in one process, in virtual time, with faults drawn from a seed. */
import { closeSync, openSync, writeSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { EXIT_CODES, SomaError } from "../base/errors.ts";
import { writeError, writeFileAtomic } from "../base/files.ts";
import { terminalProgress } from "../base/progress.ts";
import { printJson, say } from "../base/terminal.ts";
import type { SimulationOptions, SimulationResult } from "./simulation/simulate.ts";

interface SimulateFlags {
  readonly seed: number;
  readonly seeds?: Range;
  readonly validators: number;
  readonly rounds: number;
  readonly faults: string;
  readonly trace?: string;
  readonly dag?: string;
  readonly dagOf?: number;
  readonly dagRounds?: Range;
  readonly json?: true;
  readonly quiet?: true;
}

interface Range {
  readonly first: number;
  readonly last: number;
}

/** A committee has a u16 of members; a thread has less patience. */
const VALIDATORS_MAX = 500;
/** Rounds of a drawing that nobody asked for in particular: the last ones. */
const DRAWN_ROUNDS = 12;

export function registerSimulateCommand(program: Command): void {
  program
    .command("simulate")
    .summary("run a network of validators in virtual time, with faults from a seed")
    .description(
      "Run a whole network in one thread: the real driver, core and log on a simulated network, disk and clock. What fails, and\n" +
        "when, is drawn from the seed; the same arguments give the same run on every machine. After every event is checked that\n" +
        "all agree, that nobody signs twice, that nothing committed is lost, and, once all has healed, that the network lives.",
    )
    .option("--seed <n>", "what everything is drawn from", wholeNumber, 1)
    .option("--seeds <a..b>", "run all these seeds, and sum up", range)
    .option("--validators <n>", "size of the committee", wholeNumber, 10)
    .option("--rounds <n>", "run until all have committed this round", wholeNumber, 200)
    .option(
      "--faults <list>",
      "all, none, or names with commas: all lets each seed draw which are on",
      "all",
    )
    .option("--trace <file>", "write everything that happens there, a line each")
    .option("--dag <file>", "draw the DAG there (SVG): votes, certificates, decisions")
    .option(
      "--dag-of <index>",
      "whose view is drawn (default: the first correct one's)",
      wholeNumber,
    )
    .option("--dag-rounds <a..b>", "which rounds are drawn (default: the last)", range)
    .option("--json", "one JSON document on stdout")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      `
Ends with exit code 1 if a check fails.

Examples:
  soma simulate --seed 7
  soma simulate --seed 7 --validators 4 --faults twins,loss --trace run.txt --dag run.svg
  soma simulate --seeds 1..1000 --validators 4 --rounds 150 --json`,
    )
    .action(async (flags: SimulateFlags) => {
      const { parseFaults } = await import("./simulation/faults.ts");
      const faults = parseFaults(flags.faults);
      if (flags.validators < 1 || flags.validators > VALIDATORS_MAX) {
        throw usage(`${flags.validators} validators`, `take 1 to ${VALIDATORS_MAX}`);
      }
      const { validators, rounds } = flags;
      const options = { validators, rounds, faults };
      if (flags.seeds === undefined) await runOne({ ...options, seed: flags.seed }, flags);
      else await runMany(options, flags.seeds, flags);
    });
}

async function runOne(options: SimulationOptions, flags: SimulateFlags): Promise<void> {
  const { runWorld } = await import("./simulation/simulate.ts");
  const trace = flags.trace === undefined ? undefined : new TraceFile(flags.trace);
  let ran: ReturnType<typeof runWorld>;
  try {
    ran = runWorld({
      ...options,
      ...(trace === undefined
        ? {}
        : {
            sink: (line: string) => {
              trace.write(line);
            },
          }),
      ...(flags.dag === undefined ? {} : { keepsBlocksOf: flags.dagOf ?? "first" }),
    });
  } finally {
    trace?.close();
  }
  const { result } = ran;
  if (flags.dag !== undefined) await writeFileAtomic(flags.dag, await drawing(ran, flags));
  if (flags.json === true) printJson(documentOf(result));
  else say(describe(result));
  if (result.violations.length > 0) process.exitCode = EXIT_CODES.failure;
}

async function drawing(
  { world, plan }: Awaited<ReturnType<typeof import("./simulation/simulate.ts").runWorld>>,
  flags: SimulateFlags,
): Promise<string> {
  const { drawDag } = await import("./simulation/dag-drawing.ts");
  const { committee, parameters } = world.setting;
  const { viewer, keptBlocks } = world;
  const blocks = [...keptBlocks.values()];
  if (viewer === undefined || blocks.length === 0) {
    throw usage(`validator ${flags.dagOf} has no log to draw`, "choose a correct one by --dag-of");
  }
  const highest = Math.max(...blocks.map(({ round }) => round));
  const first = flags.dagRounds?.first ?? Math.max(1, highest - DRAWN_ROUNDS + 1);
  const last = Math.min(highest, flags.dagRounds?.last ?? highest);
  if (first > last) throw usage(`no rounds ${first}..${last}`, `there are rounds 1..${highest}`);
  return drawDag({
    committee,
    parameters,
    blocks,
    viewer,
    faulty: plan.faulty,
    fromRound: first,
    toRound: last,
    note: `seed ${flags.seed}, faults ${flags.faults}`,
  });
}

async function runMany(
  options: Omit<SimulationOptions, "seed">,
  seeds: Range,
  flags: SimulateFlags,
): Promise<void> {
  const [{ simulate }, { sumUp }] = await Promise.all([
    import("./simulation/simulate.ts"),
    import("./simulation/summary.ts"),
  ]);
  if (flags.trace !== undefined || flags.dag !== undefined) {
    throw usage("many seeds make no trace and no drawing", "give the one seed by --seed");
  }
  const count = seeds.last - seeds.first + 1;
  const progress = terminalProgress({
    label: "simulate",
    unit: "seed",
    ...(flags.quiet === true ? { mode: "none" } : {}),
  });
  const results: SimulationResult[] = [];
  for (let seed = seeds.first; seed <= seeds.last; seed++) {
    const result = simulate({ ...options, seed });
    results.push(result);
    if (result.violations.length > 0) say(describe(result));
    progress.update({ done: results.length, total: count, note: `seed ${seed}` });
  }
  progress.finish();
  const summary = sumUp(results);
  if (flags.json === true) printJson(summary);
  else say(JSON.stringify(summary, undefined, 2));
  if (summary.failedSeeds.length > 0) process.exitCode = EXIT_CODES.failure;
}

/** What never came is null: a key that is missing would say nothing. */
function documentOf(result: SimulationResult): object {
  const { commitDigest, firstCommitMs, healedMs, latencyMs, ...rest } = result;
  return {
    ...rest,
    commitDigest: commitDigest ?? null,
    firstCommitMs: firstCommitMs ?? null,
    healedMs: healedMs ?? null,
    latencyMs: { p50: latencyMs.p50 ?? null, p99: latencyMs.p99 ?? null },
  };
}

function describe(result: SimulationResult): string {
  const { seed, commits, digest, faulty, injected, violations, healedMs, virtualSeconds } = result;
  const happened = Object.entries(injected)
    .map(([kind, times]) => `${times} ${kind}`)
    .join(", ");
  const culprits = Object.entries(faulty).map(([index, how]) => `${index} ${how}`);
  const lines = [
    `seed ${seed}: ${commits} commits in ${virtualSeconds} virtual seconds, digest ${digest.slice(0, 16)}`,
    `  faulty: ${culprits.length === 0 ? "nobody" : culprits.join(", ")}`,
    `  happened: ${happened === "" ? "nothing" : happened}`,
    healedMs === undefined ? "  never healed" : `  alive again after ${healedMs} ms`,
    ...violations.map(
      ({ kind, atSeconds, validator, detail }) =>
        `  VIOLATION ${kind} at ${atSeconds} s${validator < 0 ? "" : `, validator ${validator}`}: ${detail}`,
    ),
  ];
  return lines.join("\n");
}

/** Lines in big writes; what was written before a failure is there to be read. */
class TraceFile {
  private readonly path: string;
  private readonly descriptor: number;
  private lines: string[] = [];

  constructor(path: string) {
    this.path = path;
    try {
      this.descriptor = openSync(path, "w");
    } catch (error) {
      throw writeError(path, error);
    }
  }

  write(line: string): void {
    this.lines.push(line);
    if (this.lines.length >= 1000) this.flush();
  }

  close(): void {
    this.flush();
    closeSync(this.descriptor);
  }

  private flush(): void {
    if (this.lines.length === 0) return;
    try {
      writeSync(this.descriptor, `${this.lines.join("\n")}\n`);
    } catch (error) {
      throw writeError(this.path, error);
    }
    this.lines = [];
  }
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

function range(text: string): Range {
  const match = /^(\d{1,15})\.\.(\d{1,15})$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || first > last) {
    throw new InvalidArgumentError("It must be two whole numbers, the smaller first: 1..50.");
  }
  return { first, last };
}

function usage(what: string, next: string): SomaError {
  return new SomaError({ code: "BAD_SIMULATION", kind: "usage", what, next });
}

/** `soma bench consensus`: checks the flags, measures, prints. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFileAtomic } from "../../base/files.ts";
import { type Progress, SILENT, terminalProgress } from "../../base/progress.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { DEFAULT_CONSENSUS_PARAMETERS } from "../../protocol/base/parameters.ts";
import { writePlots } from "../plots/write.ts";
import {
  COMMITTEE_SIZES,
  type ConsensusGrowth,
  drawConsensusGrowth,
  GROWTH_FIGURES,
  GROWTH_LOAD,
  type GrowthFigure,
  measureConsensusGrowth,
  measureInChild,
} from "./consensus/growth.ts";
import {
  benchConsensus,
  type ConsensusBenchOptions,
  type ConsensusBenchResult,
} from "./consensus/run.ts";
import { badFlag, oneOf, positiveInteger } from "./flags.ts";
import { interruptible } from "./interruption.ts";
import { circumstances, unrest } from "./machine.ts";

export interface ConsensusBenchFlags {
  readonly validators: string;
  readonly transactionBytes: string;
  readonly load: string;
  readonly seconds: string;
  readonly warmUp: string;
  readonly transport: string;
  readonly processes?: string;
  readonly crashed: string;
  readonly delayMs: string;
  readonly roundDelayMs: string;
  readonly log?: string;
  readonly logDir?: string;
  readonly growth?: boolean;
  readonly committees?: string;
  readonly rounds?: string;
  readonly out?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Sockets between all of them, twice: more than this is no use on one machine. */
const VALIDATORS_MAX = 100;
/** A simulation of more fills the memory of most machines. */
const COMMITTEE_MAX = 200;

export async function consensusBenchCommand(flags: ConsensusBenchFlags): Promise<void> {
  if (flags.growth === true) {
    await interruptible((signal) => growth(flags, signal));
    return;
  }
  const options = readOptions(flags);
  const progress = progressOf(flags, "second");
  const result = await interruptible((signal) => benchConsensus(options, progress, signal));
  const warning = unrest(result);
  if (warning !== undefined && flags.quiet !== true) say(warning);
  if (result.stoodStillMs > 0) {
    say(`this machine stood still for ${result.stoodStillMs} ms of the time: measure again`);
  }
  if (flags.out !== undefined) await writeDocument(flags.out, "consensus", result);
  if (flags.json === true) printJson(result);
  else say(describe(result));
}

function progressOf(flags: ConsensusBenchFlags, unit: string): Progress {
  return flags.quiet === true ? SILENT : terminalProgress({ label: "consensus", unit });
}

/** @throws SomaError BAD_FLAG (usage) */
function readOptions(flags: ConsensusBenchFlags): ConsensusBenchOptions {
  for (const [flag, text] of [
    ["--committees", flags.committees],
    ["--rounds", flags.rounds],
  ] as const) {
    if (text !== undefined) throw badFlag(flag, text, "it goes with --growth");
  }
  const validators = atMost(
    positiveInteger(flags.validators, "--validators"),
    "--validators",
    VALIDATORS_MAX,
  );
  const bearable = Math.floor((validators - 1) / 3);
  const crashed = wholeNumber(flags.crashed, "--crashed");
  if (crashed > bearable) {
    throw badFlag("--crashed", flags.crashed, `${validators} validators bear at most ${bearable}`);
  }
  const transport = oneOf(flags.transport, "--transport", ["tcp", "memory"]);
  const processes =
    flags.processes === undefined
      ? transport === "memory"
        ? 1
        : validators - crashed
      : positiveInteger(flags.processes, "--processes");
  if (transport === "memory" && processes > 1) {
    throw badFlag(
      "--processes",
      String(processes),
      "validators joined in memory are in one process",
    );
  }
  if (processes > validators - crashed) {
    throw badFlag("--processes", String(processes), `${validators - crashed} validators run`);
  }
  return {
    validators,
    crashed,
    transactionBytes: atMost(
      positiveInteger(flags.transactionBytes, "--transaction-bytes"),
      "--transaction-bytes",
      DEFAULT_CONSENSUS_PARAMETERS.transactionBytesMax,
    ),
    load: positiveInteger(flags.load, "--load"),
    seconds: positiveInteger(flags.seconds, "--seconds"),
    warmUpSeconds: wholeNumber(flags.warmUp, "--warm-up"),
    transport,
    processes,
    log: oneOf(flags.log ?? (transport === "tcp" ? "disk" : "memory"), "--log", ["disk", "memory"]),
    delayMs: wholeNumber(flags.delayMs, "--delay-ms"),
    roundDelayMs: positiveInteger(flags.roundDelayMs, "--round-delay-ms"),
    logDir: flags.logDir ?? tmpdir(),
  };
}

function wholeNumber(text: string, flag: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw badFlag(flag, text, "give a whole number");
}

function atMost(value: number, flag: string, max: number): number {
  if (value <= max) return value;
  throw badFlag(flag, String(value), `give at most ${max}`);
}

function describe(result: ConsensusBenchResult): string {
  const { latencyMs, syncMs, validators, crashed, processes } = result;
  const rows: readonly (readonly [string, string])[] = [
    ["committee", `${validators}${crashed > 0 ? `, ${crashed} of them crashed` : ""}`],
    [
      "transport, log",
      `${result.transport}, ${result.log}, ${processes} ${processes === 1 ? "process" : "processes"}`,
    ],
    ["delay added, one way", `${result.delayMs} ms`],
    ["transactions", `${result.transactionBytes} bytes each, opaque`],
    [
      "offered",
      `${result.offeredTps.toFixed(0)} a second (${result.refusedTps.toFixed(0)} refused)`,
    ],
    ["committed", `${result.committedTps.toFixed(0)} a second`],
    ["latency p50, p90, p99", `${latencyMs.p50}, ${latencyMs.p90}, ${latencyMs.p99} ms`],
    ["latency mean", `${latencyMs.mean} ms`],
    [
      "not ordered at the end",
      `${result.waitingAtEnd}, the oldest for ${result.oldestWaitingMs} ms`,
    ],
    ["rounds, commits", `${result.roundsPerSecond}, ${result.commitsPerSecond} a second`],
    ["CPU of a validator", `${result.cpuPerValidator} cores, clients included`],
    ["sent, logged", `${result.sentMBPerSecond}, ${result.loggedMBPerSecond} MB/s a validator`],
    [
      "fsync",
      syncMs === null
        ? "none"
        : `${result.syncsPerSecond} a second a validator, ${syncMs.mean} ms each, p99 ${syncMs.p99} ms`,
    ],
    ["memory", `${result.rssMiB} MiB, all together`],
    ["commits compared", `${result.agreedCommits}, equal on all`],
    ["machine", result.machine],
    ["date", result.date],
  ];
  return `${table(["consensus", "value"], rows)}\ntransactions: ${result.transactions}\nclients: ${result.clients}`;
}

// ---- growth ----

async function growth(flags: ConsensusBenchFlags, signal: AbortSignal): Promise<void> {
  const sizes = readSizes(flags.committees);
  const rounds = flags.rounds === undefined ? undefined : positiveInteger(flags.rounds, "--rounds");
  const where = circumstances();
  const warning = unrest(where);
  if (warning !== undefined && flags.quiet !== true) say(warning);
  const seed = 1;
  const result = await measureConsensusGrowth(
    { sizes, rounds, seed },
    (run) => measureInChild(run, signal),
    progressOf(flags, "size"),
  );
  const document = {
    ...result,
    seed,
    load: GROWTH_LOAD,
    setting:
      "simulator, one thread, no faults, links of 10 to 20 ms; every node checks every signature; CPU with the simulator's own",
    ...where,
  };
  if (flags.out !== undefined) {
    await writeDocument(flags.out, "consensus-growth", document);
    const drawing = drawConsensusGrowth(result, `simulator, no faults; ${where.machine}`);
    const { paths, notes } = await writePlots(flags.out, new Map([["consensus-growth", drawing]]));
    for (const line of [...paths, ...notes]) say(line);
  }
  if (flags.json === true) printJson(document);
  else say(`${describeGrowth(result)}\nload: ${GROWTH_LOAD}\n${where.machine}, ${where.date}`);
}

/** Two sizes or more, ascending. @throws SomaError BAD_FLAG (usage) */
function readSizes(text: string | undefined): readonly number[] {
  if (text === undefined) return COMMITTEE_SIZES;
  const sizes = text
    .split(",")
    .map((size) =>
      atMost(positiveInteger(size.trim(), "--committees"), "--committees", COMMITTEE_MAX),
    );
  const areAscending = sizes.every((size, i) => size > (sizes[i - 1] ?? 1));
  if (areAscending) return sizes;
  throw badFlag("--committees", text, "give sizes from 2 on, ascending, e.g. 4,10,25");
}

function describeGrowth({ points, laws, isCpuWithinRefs, failure }: ConsensusGrowth): string {
  const names = Object.keys(GROWTH_FIGURES) as readonly GrowthFigure[];
  const rows = (["each", "all"] as const).flatMap((of) => [
    ...points.map((point) => [
      `${point.validators} validators, ${of === "each" ? "one of them" : "all together"}`,
      ...names.map((name) => String(point[of][name])),
    ]),
    ...(laws === undefined
      ? []
      : [
          [
            "  exponent (of the largest)",
            ...names.map((name) => {
              const { exponent, tailExponent } = laws[of][name];
              const tail = tailExponent === undefined ? "" : ` (${tailExponent.toFixed(2)})`;
              return `${exponent.toFixed(2)}${tail}`;
            }),
          ],
        ]),
  ]);
  const verdict =
    isCpuWithinRefs === undefined
      ? []
      : [
          `CPU for a committed block grows ${isCpuWithinRefs ? "no faster than" : "FASTER than"} the references that it carries`,
        ];
  const failed =
    failure === undefined ? [] : [`${failure.validators} validators failed: ${failure.reason}`];
  return [
    table(["growth", ...names.map((name) => GROWTH_FIGURES[name])], rows),
    ...verdict,
    ...failed,
  ].join("\n");
}

async function writeDocument(folder: string, name: string, document: unknown): Promise<void> {
  await writeFileAtomic(join(folder, `${name}.json`), `${JSON.stringify(document, null, 2)}\n`);
}

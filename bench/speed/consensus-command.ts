/** `soma bench consensus`: checks the flags, measures, prints. */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { terminalProgress } from "../../base/progress.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { benchConsensus, type ConsensusBenchResult } from "./consensus/run.ts";
import type { ConsensusBenchSettings } from "./consensus/settings.ts";
import { badFlag, oneOf, positiveInteger } from "./flags.ts";
import { unrest } from "./machine.ts";

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
  readonly json?: boolean;
}

export async function consensusBenchCommand(flags: ConsensusBenchFlags): Promise<void> {
  const settings = await readSettings(flags);
  const progress = terminalProgress({ label: "consensus", unit: "second" });
  const result = await benchConsensus(settings, progress);
  const warning = unrest(result);
  if (warning !== undefined) say(warning);
  if (flags.json === true) printJson(result);
  else say(describe(result));
}

async function readSettings(flags: ConsensusBenchFlags): Promise<ConsensusBenchSettings> {
  const validators = positiveInteger(flags.validators, "--validators");
  const crashed = wholeNumber(flags.crashed, "--crashed");
  if (crashed > Math.floor((validators - 1) / 3)) {
    throw badFlag(
      "--crashed",
      flags.crashed,
      `${validators} validators bear at most ${Math.floor((validators - 1) / 3)}`,
    );
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
  return {
    validators,
    crashed,
    transactionBytes: positiveInteger(flags.transactionBytes, "--transaction-bytes"),
    load: positiveInteger(flags.load, "--load"),
    seconds: positiveInteger(flags.seconds, "--seconds"),
    warmUpSeconds: wholeNumber(flags.warmUp, "--warm-up"),
    transport,
    processes,
    log: oneOf(flags.log ?? (transport === "tcp" ? "disk" : "memory"), "--log", ["disk", "memory"]),
    delayMs: wholeNumber(flags.delayMs, "--delay-ms"),
    roundDelayMs: wholeNumber(flags.roundDelayMs, "--round-delay-ms"),
    logFolder: await mkdtemp(join(flags.logDir ?? tmpdir(), "soma-bench-consensus-")),
  };
}

function wholeNumber(text: string, flag: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw badFlag(flag, text, "give a whole number");
}

function describe(result: ConsensusBenchResult): string {
  const { latencyMs, validators, crashed } = result;
  const rows: readonly (readonly [string, string])[] = [
    ["committee", `${validators}${crashed > 0 ? `, ${crashed} of them crashed` : ""}`],
    ["transport, log", `${result.transport}, ${result.log}, ${result.processes} processes`],
    ["delay added, one way", `${result.delayMs} ms`],
    ["transactions", `${result.transactionBytes} bytes each, opaque`],
    [
      "offered",
      `${result.offeredTps.toFixed(0)} a second (${result.refusedTps.toFixed(0)} refused)`,
    ],
    ["committed", `${result.committedTps.toFixed(0)} a second`],
    ["latency p50, p90, p99", `${latencyMs.p50}, ${latencyMs.p90}, ${latencyMs.p99} ms`],
    ["latency mean", `${latencyMs.mean} ms`],
    ["rounds, commits", `${result.roundsPerSecond}, ${result.commitsPerSecond} a second`],
    ["CPU of a validator", `${result.cpuPerValidator} cores, clients included`],
    ["sent, logged", `${result.sentMBPerSecond}, ${result.loggedMBPerSecond} MB/s a validator`],
    ["memory", `${result.rssMiB} MiB, all together`],
    ["commits compared", `${result.agreedCommits}, equal on all`],
    ["machine", result.machine],
    ["date", result.date],
  ];
  return `${table(["consensus", "value"], rows)}\n${result.transactions}`;
}

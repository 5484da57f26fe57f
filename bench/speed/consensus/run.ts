/**
 * Consensus throughput: how many opaque transactions a second a committee orders on this machine, and how long each
 * takes from its client's hands to the ordered commit of the validator it was given to. Validators run as they would
 * anywhere, over loopback TCP or joined in memory, with the real log; all share this machine's cores, clients included.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { writeError } from "../../../base/files.ts";
import type { Progress } from "../../../base/progress.ts";
import { unlessAborted } from "../interruption.ts";
import { type Circumstances, circumstances } from "../machine.ts";
import { benchFailed } from "./failure.ts";
import { HostProcess } from "./host-process.ts";
import { LatencyHistogram, type LatencySummary } from "./latency.ts";
import type {
  CommitMark,
  ConsensusBenchSettings,
  HostReport,
  LatencyCounts,
  ValidatorReport,
} from "./settings.ts";

/** What is asked for. */
export interface ConsensusBenchOptions extends Omit<ConsensusBenchSettings, "logFolder"> {
  /** A folder that is there: the logs go into one of their own in it, which is removed at the end. */
  readonly logDir: string;
}

export interface ConsensusBenchResult
  extends Omit<ConsensusBenchSettings, "logFolder">, Circumstances {
  readonly offeredTps: number;
  readonly committedTps: number;
  /** From the time a transaction is due to the time the validator that it was given to has the commit. */
  readonly latencyMs: LatencySummary;
  /** Sum of the peaks of all processes, ours too. */
  readonly rssMiB: number;
  /** Offered where too many waited already: neither taken nor ordered. */
  readonly refusedTps: number;
  readonly resubmittedTps: number;
  /** Transactions taken and not ordered when the time was over: of these no latency is known. */
  readonly waitingAtEnd: number;
  readonly oldestWaitingMs: number;
  readonly roundsPerSecond: number;
  readonly commitsPerSecond: number;
  /** Cores kept busy by one validator, its clients included. */
  readonly cpuPerValidator: number;
  /** Of one validator, to all its peers. */
  readonly sentMBPerSecond: number;
  readonly loggedMBPerSecond: number;
  /** Of one validator, on its log and its highest-signed file; 0 with a log in memory. */
  readonly syncsPerSecond: number;
  /** How long an fsync took; null with a log in memory. */
  readonly syncMs: LatencySummary | null;
  /** Of the last commits, those that all validators have: equal digests, equal numbers of transactions up to there. */
  readonly agreedCommits: number;
  /** How long this process, which does nothing meanwhile, was not let run: above 0, take the figures again. */
  readonly stoodStillMs: number;
  /** What a transaction is here: nothing but bytes. */
  readonly transactions: string;
  readonly clients: string;
}

/** @throws SomaError WRITE_FAILED, DISK_FULL: the logs; BENCH_FAILED (failure): a validator failed, or two disagree; the signal's reason */
export async function benchConsensus(
  options: ConsensusBenchOptions,
  progress?: Progress,
  signal?: AbortSignal,
): Promise<ConsensusBenchResult> {
  const machine = circumstances();
  const { logDir, ...rest } = options;
  const settings = { ...rest, logFolder: await logFolderIn(logDir) };
  const hosts = spread(settings).map((validators) => new HostProcess(settings, validators));
  const stop = new AbortController();
  signal?.addEventListener("abort", () => {
    stop.abort(signal.reason);
  });
  for (const { failure } of hosts)
    void failure.then((error) => {
      stop.abort(error);
    });
  try {
    const measured = await unlessAborted(
      measure(settings, hosts, stop.signal, progress),
      stop.signal,
    );
    return summarize(settings, machine, measured);
  } finally {
    progress?.finish();
    await Promise.all(hosts.map((host) => host.end()));
    await rm(settings.logFolder, { recursive: true, force: true });
  }
}

async function logFolderIn(logDir: string): Promise<string> {
  try {
    return await mkdtemp(join(logDir, "soma-bench-consensus-"));
  } catch (error) {
    throw writeError(logDir, error);
  }
}

/** Which validators run in which process: those that are not crashed, dealt out in turn. */
function spread(settings: ConsensusBenchSettings): readonly (readonly number[])[] {
  const running = Array.from({ length: settings.validators - settings.crashed }, (_, i) => i);
  const processes = Math.min(settings.processes, running.length);
  return Array.from({ length: processes }, (_, host) =>
    running.filter((index) => index % processes === host),
  );
}

/** Between two looks at the time. A parent that does nothing else is as late as this only where it is not let run. */
const POLL_MS = 100;
const LATE_MS_MAX = 150;

interface Measured {
  readonly reports: readonly HostReport[];
  readonly stoodStillMs: number;
}

async function measure(
  settings: ConsensusBenchSettings,
  hosts: readonly HostProcess[],
  signal: AbortSignal,
  progress: Progress | undefined,
): Promise<Measured> {
  const opened = await Promise.all(hosts.map((host) => host.open()));
  const ports = opened.flat();
  await Promise.all(hosts.map((host) => host.start(ports)));
  const total = settings.warmUpSeconds + settings.seconds;
  let stoodStillMs = 0;
  const pass = async (seconds: number, from: number, note: string): Promise<void> => {
    const startedAt = performance.now();
    for (;;) {
      const passed = (performance.now() - startedAt) / 1000;
      progress?.update({ done: Math.floor(from + Math.min(passed, seconds)), total, note });
      if (passed >= seconds) return;
      const waitMs = Math.min(POLL_MS, (seconds - passed) * 1000);
      const askedAt = performance.now();
      await setTimeout(waitMs, undefined, { signal });
      const lateMs = performance.now() - askedAt - waitMs;
      if (lateMs > LATE_MS_MAX) stoodStillMs += lateMs;
    }
  };
  await pass(settings.warmUpSeconds, 0, "warm-up");
  stoodStillMs = 0;
  for (const host of hosts) host.measure();
  await pass(settings.seconds, settings.warmUpSeconds, "measuring");
  return { reports: await Promise.all(hosts.map((host) => host.report())), stoodStillMs };
}

function summarize(
  { logFolder: _, ...settings }: ConsensusBenchSettings,
  machine: Circumstances,
  { reports, stoodStillMs }: Measured,
): ConsensusBenchResult {
  const validators = reports.flatMap((report) =>
    report.validators.map((each) => ({ ...each, seconds: report.seconds })),
  );
  const rates = (of: (report: ValidatorReport) => number): readonly number[] =>
    validators.map((each) => of(each) / each.seconds);
  const cpu = reports.reduce((sum, { cpuSeconds, seconds }) => sum + cpuSeconds / seconds, 0);
  const rssBytes =
    sum(reports.map(({ peakRssBytes }) => peakRssBytes)) + process.resourceUsage().maxRSS * 1024;
  return {
    offeredTps: round(sum(rates(({ offered }) => offered))),
    committedTps: round(mean(rates(({ committed }) => committed))), // each orders all
    latencyMs: together(validators.map(({ latency }) => latency)),
    rssMiB: round(rssBytes / 2 ** 20),
    refusedTps: round(sum(rates(({ refused }) => refused))),
    resubmittedTps: round(sum(rates(({ resubmitted }) => resubmitted))),
    waitingAtEnd: sum(validators.map(({ waiting }) => waiting)),
    oldestWaitingMs: round(Math.max(...validators.map(({ oldestWaitingMs }) => oldestWaitingMs))),
    roundsPerSecond: round(mean(rates(({ rounds }) => rounds))),
    commitsPerSecond: round(mean(rates(({ commits }) => commits))),
    cpuPerValidator: Number((cpu / validators.length).toFixed(3)),
    sentMBPerSecond: round(mean(rates(({ sentBytes }) => sentBytes / 1e6))),
    loggedMBPerSecond: round(mean(rates(({ logBytes }) => logBytes / 1e6))),
    syncsPerSecond: round(mean(rates(({ syncs }) => sum(syncs.counts.map(([, count]) => count))))),
    syncMs: settings.log === "disk" ? together(validators.map(({ syncs }) => syncs)) : null,
    agreedCommits: agreedCommits(validators),
    stoodStillMs: round(stoodStillMs),
    transactions:
      "opaque bytes: hashed once by each validator, ordered and logged; not decoded, not signed by a client, not de-duplicated, not executed",
    clients:
      "in the process of the validator they send to: what falls due in 5 ms is one buffer, handed over by a call",
    ...settings,
    ...machine,
  };
}

/** @throws SomaError BENCH_FAILED if two validators have different commits of one index, or none in common */
export function agreedCommits(
  validators: readonly Pick<ValidatorReport, "index" | "lastCommits">[],
): number {
  const marks = new Map<number, { readonly mark: CommitMark; count: number }>();
  for (const { index: validator, lastCommits } of validators) {
    for (const mark of lastCommits) {
      const known = marks.get(mark.index) ?? { mark, count: 0 };
      if (known.mark.digest !== mark.digest) {
        throw benchFailed(`validator ${validator} has another commit ${mark.index}`);
      }
      if (known.mark.transactions !== mark.transactions) {
        throw benchFailed(
          `up to commit ${mark.index} validator ${validator} counts ${mark.transactions} transactions, another ${known.mark.transactions}`,
        );
      }
      marks.set(mark.index, { mark, count: known.count + 1 });
    }
  }
  const agreed = [...marks.values()].filter(({ count }) => count === validators.length).length;
  if (agreed === 0) throw benchFailed("the validators have no commit in common");
  return agreed;
}

function together(each: readonly LatencyCounts[]): LatencySummary {
  const all = new LatencyHistogram();
  for (const counts of each) all.merge(counts);
  const summary = all.summary();
  return { ...summary, mean: round(summary.mean) };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

function round(value: number): number {
  return Number(value.toFixed(1));
}

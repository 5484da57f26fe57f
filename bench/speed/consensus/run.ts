/**
 * Consensus throughput: how many opaque transactions a second a committee orders on this machine, and how long each
 * takes from its client's hands to the ordered commit of the validator it was given to. Validators run as they would
 * anywhere, over loopback TCP or joined in memory, with the real log; all share this machine's cores, clients included.
 */
import { type ChildProcess, fork } from "node:child_process";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { assert, SomaError } from "../../../base/errors.ts";
import type { Progress } from "../../../base/progress.ts";
import { type Circumstances, circumstances } from "../machine.ts";
import { LatencyHistogram, type LatencySummary } from "./latency.ts";
import type {
  ConsensusBenchSettings,
  HostAnswer,
  HostCommand,
  HostReport,
  ValidatorReport,
} from "./settings.ts";

export interface ConsensusBenchResult
  extends Omit<ConsensusBenchSettings, "logFolder">, Circumstances {
  readonly offeredTps: number;
  readonly committedTps: number;
  /** From the time a client sends to the time its validator has the commit. */
  readonly latencyMs: LatencySummary;
  /** Peak of all processes together. */
  readonly rssMiB: number;
  readonly refusedTps: number;
  readonly resubmittedTps: number;
  readonly roundsPerSecond: number;
  readonly commitsPerSecond: number;
  /** Cores kept busy by one validator, its clients included. */
  readonly cpuPerValidator: number;
  /** Of one validator, to all its peers. */
  readonly sentMBPerSecond: number;
  readonly loggedMBPerSecond: number;
  /** Commits that all validators have and that are the same. */
  readonly agreedCommits: number;
  /** What a transaction is here: nothing but bytes. */
  readonly transactions: string;
}

/** Until every validator has ordered something. */
const RUNNING_TIMEOUT_MS = 60_000;
const ANSWER_TIMEOUT_MS = 30_000;

/** @throws SomaError BENCH_FAILED (failure): a validator failed, or two disagree */
export async function benchConsensus(
  settings: ConsensusBenchSettings,
  progress?: Progress,
): Promise<ConsensusBenchResult> {
  const machine = circumstances();
  const hosts = spread(settings).map((validators) => new HostProcess(settings, validators));
  try {
    const reports = await measure(settings, hosts, progress);
    return summarize(settings, machine, reports);
  } finally {
    await Promise.all(hosts.map((host) => host.end()));
    await rm(settings.logFolder, { recursive: true, force: true });
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

async function measure(
  settings: ConsensusBenchSettings,
  hosts: readonly HostProcess[],
  progress: Progress | undefined,
): Promise<readonly HostReport[]> {
  const opened = await Promise.all(hosts.map((host) => host.open()));
  const ports = opened.flat();
  await Promise.all(hosts.map((host) => host.start(ports)));
  const total = settings.warmUpSeconds + settings.seconds;
  await pass(settings.warmUpSeconds, { from: 0, total, note: "warm-up" }, progress);
  for (const host of hosts) host.tell({ kind: "measure" });
  await pass(
    settings.seconds,
    { from: settings.warmUpSeconds, total, note: "measuring" },
    progress,
  );
  const reports = await Promise.all(hosts.map((host) => host.report()));
  progress?.finish();
  return reports;
}

async function pass(
  seconds: number,
  { from, total, note }: { readonly from: number; readonly total: number; readonly note: string },
  progress: Progress | undefined,
): Promise<void> {
  const startedAt = performance.now();
  for (;;) {
    const passed = (performance.now() - startedAt) / 1000;
    progress?.update({ done: Math.floor(from + Math.min(passed, seconds)), total, note });
    if (passed >= seconds) return;
    await wait(Math.min(1000, (seconds - passed) * 1000));
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function summarize(
  { logFolder: _, ...settings }: ConsensusBenchSettings,
  machine: Circumstances,
  reports: readonly HostReport[],
): ConsensusBenchResult {
  const validators = reports.flatMap((report) =>
    report.validators.map((each) => ({ ...each, seconds: report.seconds })),
  );
  const latency = new LatencyHistogram();
  for (const each of validators) latency.merge(each.latency);
  const rates = (of: (report: ValidatorReport) => number): readonly number[] =>
    validators.map((each) => of(each) / each.seconds);
  const cpu = reports.reduce((sum, { cpuSeconds, seconds }) => sum + cpuSeconds / seconds, 0);
  const rssBytes = reports.reduce((sum, { peakRssBytes }) => sum + peakRssBytes, 0);
  return {
    offeredTps: round(sum(rates(({ offered }) => offered))),
    committedTps: round(mean(rates(({ committed }) => committed))), // each orders all
    latencyMs: {
      ...latency.summary(),
      mean: round(latency.summary().mean),
    },
    rssMiB: round(rssBytes / 2 ** 20),
    refusedTps: round(sum(rates(({ refused }) => refused))),
    resubmittedTps: round(sum(rates(({ resubmitted }) => resubmitted))),
    roundsPerSecond: round(mean(rates(({ rounds }) => rounds))),
    commitsPerSecond: round(mean(rates(({ commits }) => commits))),
    cpuPerValidator: Number((cpu / validators.length).toFixed(3)),
    sentMBPerSecond: round(mean(rates(({ sentBytes }) => sentBytes / 1e6))),
    loggedMBPerSecond: round(mean(rates(({ logBytes }) => logBytes / 1e6))),
    agreedCommits: agreedCommits(validators),
    transactions:
      "opaque bytes: hashed once by each validator, ordered and logged; not decoded, not signed by a client, not executed",
    ...settings,
    ...machine,
  };
}

/** @throws SomaError BENCH_FAILED if two validators have different commits of one index, or none in common */
export function agreedCommits(validators: readonly ValidatorReport[]): number {
  const digests = new Map<number, { digest: string; count: number }>();
  for (const { index: validator, lastCommits } of validators) {
    for (const [index, digest] of lastCommits) {
      const known = digests.get(index) ?? { digest, count: 0 };
      if (known.digest !== digest)
        throw failed(`validator ${validator} has another commit ${index}`);
      digests.set(index, { digest, count: known.count + 1 });
    }
  }
  const agreed = [...digests.values()].filter(({ count }) => count === validators.length).length;
  if (agreed === 0) throw failed("the validators have no commit in common");
  return agreed;
}

function failed(what: string): SomaError {
  return new SomaError({ code: "BENCH_FAILED", kind: "failure", what });
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

/** One process of validators, and the other end of its commands. */
class HostProcess {
  private readonly settings: ConsensusBenchSettings;
  private readonly validators: readonly number[];
  private readonly child: ChildProcess;
  private awaited:
    | { readonly resolve: (answer: HostAnswer) => void; readonly reject: (error: Error) => void }
    | undefined;
  private failure: SomaError | undefined;

  constructor(settings: ConsensusBenchSettings, validators: readonly number[]) {
    this.settings = settings;
    this.validators = validators;
    this.child = fork(fileURLToPath(new URL("./host.js", import.meta.url)), {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.child.on("message", (answer) => {
      this.take(answer as HostAnswer);
    });
    this.child.on("exit", (code, signal) => {
      this.fail(failed(`a process of validators ended with ${code ?? signal ?? "nothing"}`));
    });
  }

  async open(): Promise<readonly (readonly [number, number])[]> {
    const { settings, validators } = this;
    const answer = await this.ask({ kind: "open", settings, validators }, ANSWER_TIMEOUT_MS);
    assert(answer.kind === "opened", "a host that is opened says so");
    return answer.ports;
  }

  async start(ports: readonly (readonly [number, number])[]): Promise<void> {
    await this.ask({ kind: "start", ports }, RUNNING_TIMEOUT_MS);
  }

  async report(): Promise<HostReport> {
    const answer = await this.ask({ kind: "report" }, ANSWER_TIMEOUT_MS);
    assert(answer.kind === "report", "a host that is asked reports");
    return answer.report;
  }

  tell(command: HostCommand): void {
    this.child.send(command);
  }

  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        resolve();
        return;
      }
      const timer = setTimeout(() => this.child.kill("SIGKILL"), ANSWER_TIMEOUT_MS);
      this.child.once("exit", () => {
        clearTimeout(timer);
        resolve();
      });
      if (this.child.connected) this.tell({ kind: "stop" });
    });
  }

  private ask(command: HostCommand, timeoutMs: number): Promise<HostAnswer> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.failure);
        return;
      }
      const timer = setTimeout(() => {
        this.fail(failed(`no answer to "${command.kind}" within ${timeoutMs} ms`));
      }, timeoutMs);
      this.awaited = {
        resolve: (answer) => {
          clearTimeout(timer);
          resolve(answer);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.tell(command);
    });
  }

  private take(answer: HostAnswer): void {
    if (answer.kind === "failed") {
      this.fail(failed(answer.what));
      return;
    }
    this.awaited?.resolve(answer);
    this.awaited = undefined;
  }

  private fail(error: SomaError): void {
    this.failure ??= error;
    this.awaited?.reject(this.failure);
    this.awaited = undefined;
  }
}

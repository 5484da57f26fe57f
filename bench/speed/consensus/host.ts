/** A process of `soma bench consensus`: runs some of the validators, told by its parent what to do and when. */
import { rmSync } from "node:fs";
import { assert, type Failure, present, SomaError } from "../../../base/errors.ts";
import { committeeSignatures } from "../../../protocol/consensus/signatures.ts";
import { DelayedNetwork } from "../../../node/network/delayed.ts";
import { networkLimits } from "../../../node/network/limits.ts";
import { MemoryHub } from "../../../node/network/memory.ts";
import { listenTcp, type TcpListener, TcpNetwork } from "../../../node/network/tcp.ts";
import type { Network } from "../../../node/runtime/ports.ts";
import type { ConsensusBenchSettings, HostAnswer, HostCommand } from "./settings.ts";
import { benchCommittee, benchSigner, MeasuredValidator } from "./validator.ts";

const HOST = "127.0.0.1";
const RUNNING_INTERVAL_MS = 20;

class BenchHost {
  private readonly settings: ConsensusBenchSettings;
  private readonly indices: readonly number[];
  private readonly listeners = new Map<number, TcpListener>();
  private validators: readonly MeasuredValidator[] = [];
  private startedAt = 0;
  private cpuStart = process.cpuUsage();

  constructor(settings: ConsensusBenchSettings, indices: readonly number[]) {
    this.settings = settings;
    this.indices = indices;
  }

  async open(): Promise<HostAnswer> {
    if (this.settings.transport === "memory") return { kind: "opened", ports: [] };
    for (const index of this.indices) {
      this.listeners.set(index, await listenTcp({ host: HOST, port: 0 }));
    }
    return {
      kind: "opened",
      ports: [...this.listeners].map(([index, { port }]) => [index, port]),
    };
  }

  start(ports: readonly (readonly [number, number])[]): void {
    const { settings } = this;
    const committee = benchCommittee(settings.validators);
    // Above the default, which is made for slower rounds.
    const limits = networkLimits({ messagesPerSecond: 1000, messagesBurst: 2000 });
    const hub = new MemoryHub(limits);
    const network = (index: number): Network =>
      settings.transport === "memory"
        ? hub.endpoint(index)
        : new TcpNetwork({
            committee,
            ownIndex: index,
            signer: benchSigner(index),
            checkSignature: committeeSignatures(committee),
            listener: present(this.listeners.get(index), "each validator has a port"),
            addresses: new Map(ports.map(([peer, port]) => [peer, { host: HOST, port }])),
            limits,
          });
    this.validators = this.indices.map((index) => {
      const inner = network(index);
      return new MeasuredValidator({
        index,
        settings,
        committee,
        network: settings.delayMs > 0 ? new DelayedNetwork(inner, settings.delayMs) : inner,
        onFailure: ({ failure }) => {
          const what = `validator ${index}: ${failure.what}`;
          answer({ kind: "failed", failure: { ...failure, what } });
        },
      });
    });
    for (const validator of this.validators) validator.start();
    const poll = setInterval(() => {
      if (!this.validators.every(({ isRunning }) => isRunning)) return;
      clearInterval(poll);
      answer({ kind: "running" });
    }, RUNNING_INTERVAL_MS);
  }

  measure(): void {
    this.startedAt = performance.now();
    this.cpuStart = process.cpuUsage();
    for (const validator of this.validators) validator.measure();
  }

  report(): HostAnswer {
    const { user, system } = process.cpuUsage(this.cpuStart);
    return {
      kind: "report",
      report: {
        validators: this.validators.map((validator) => validator.report()),
        seconds: (performance.now() - this.startedAt) / 1000,
        cpuSeconds: (user + system) / 1e6,
        peakRssBytes: process.resourceUsage().maxRSS * 1024,
      },
    };
  }

  stop(): void {
    for (const validator of this.validators) validator.stop();
  }

  /** Nobody is left to do it. */
  removeLogs(): void {
    rmSync(this.settings.logFolder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function answer(message: HostAnswer): void {
  process.send?.(message);
}

let host: BenchHost | undefined;

async function obey(command: HostCommand): Promise<void> {
  if (command.kind === "open") {
    host = new BenchHost(command.settings, command.validators);
    answer(await host.open());
    return;
  }
  const opened = present(host, "a host is opened first");
  switch (command.kind) {
    case "start":
      opened.start(command.ports);
      return;
    case "measure":
      opened.measure();
      return;
    case "report":
      answer(opened.report());
      return;
    case "stop":
      opened.stop();
      process.exit(); // nobody wants the logs any more
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof SomaError) return error.failure;
  return { code: "BENCH_FAILED", kind: "failure", what: String(error) };
}

assert(process.send !== undefined, "a host is a child of the bench");
process.on("message", (command) => {
  obey(command as HostCommand).catch((error: unknown) => {
    answer({ kind: "failed", failure: failureOf(error) });
  });
});
// The terminal sends Ctrl-C to the children too: it is the parent that says when to stop.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("disconnect", () => {
  host?.removeLogs(); // the parent was killed: it will not
  process.exit();
});

/** A process of validators as its parent has it: commands in, answers out, and a failure that is noticed at once. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { assert, SomaError } from "../../../base/errors.ts";
import { benchFailed, validatorNames } from "./failure.ts";
import type { ConsensusBenchSettings, HostAnswer, HostCommand, HostReport } from "./settings.ts";

/** Until every validator has ordered something. */
const RUNNING_TIMEOUT_MS = 60_000;
const ANSWER_TIMEOUT_MS = 30_000;
/** For logs to be written; who does not end by itself is killed. */
const END_TIMEOUT_MS = 5_000;

interface Awaited {
  readonly resolve: (answer: HostAnswer) => void;
  readonly reject: (error: SomaError) => void;
}

export class HostProcess {
  /** Comes when the process, or a validator of it, fails; never rejected, and never resolved if all goes well. */
  readonly failure: Promise<SomaError>;
  private readonly settings: ConsensusBenchSettings;
  private readonly validators: readonly number[];
  private readonly child: ChildProcess;
  private readonly hasEnded: Promise<void>;
  private awaited: Awaited | undefined;
  private failed: SomaError | undefined;
  private announce: (error: SomaError) => void = () => undefined;

  constructor(settings: ConsensusBenchSettings, validators: readonly number[]) {
    this.settings = settings;
    this.validators = validators;
    this.failure = new Promise((resolve) => {
      this.announce = resolve;
    });
    this.child = fork(fileURLToPath(new URL("./host.js", import.meta.url)), {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.child.on("message", (answer) => {
      this.take(answer as HostAnswer);
    });
    this.child.on("error", (error) => {
      this.fail(benchFailed(`the process of ${this.name} cannot be reached (${error.message})`));
    });
    this.hasEnded = new Promise((resolve) => {
      this.child.on("exit", (code, signal) => {
        this.fail(
          benchFailed(`the process of ${this.name} has ended with ${signal ?? code ?? "nothing"}`),
        );
        resolve();
      });
    });
  }

  get name(): string {
    return validatorNames(this.validators);
  }

  async open(): Promise<readonly (readonly [number, number])[]> {
    const { settings, validators } = this;
    const answer = await this.ask({ kind: "open", settings, validators }, ANSWER_TIMEOUT_MS);
    assert(answer.kind === "opened", "a host that is opened says so");
    return answer.ports;
  }

  /** Until every validator of it has ordered something. */
  async start(ports: readonly (readonly [number, number])[]): Promise<void> {
    await this.ask({ kind: "start", ports }, RUNNING_TIMEOUT_MS);
  }

  measure(): void {
    this.tell({ kind: "measure" });
  }

  async report(): Promise<HostReport> {
    const answer = await this.ask({ kind: "report" }, ANSWER_TIMEOUT_MS);
    assert(answer.kind === "report", "a host that is asked reports");
    return answer.report;
  }

  /** Comes when the process is gone. */
  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const timer = setTimeout(() => this.child.kill("SIGKILL"), END_TIMEOUT_MS);
    this.tell({ kind: "stop" });
    await this.hasEnded;
    clearTimeout(timer);
  }

  private ask(command: HostCommand, timeoutMs: number): Promise<HostAnswer> {
    return new Promise((resolve, reject) => {
      if (this.failed !== undefined) {
        reject(this.failed);
        return;
      }
      const timer = setTimeout(() => {
        this.fail(
          benchFailed(`${this.name} did not answer "${command.kind}" in ${timeoutMs / 1000} s`),
        );
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

  /** To one that is gone it is not told: its end is noticed elsewhere. */
  private tell(command: HostCommand): void {
    if (this.child.connected) this.child.send(command, () => undefined);
  }

  private take(answer: HostAnswer): void {
    if (answer.kind === "failed") {
      this.fail(new SomaError(answer.failure));
      return;
    }
    this.awaited?.resolve(answer);
    this.awaited = undefined;
  }

  private fail(error: SomaError): void {
    this.failed ??= error;
    this.awaited?.reject(this.failed);
    this.awaited = undefined;
    this.announce(this.failed);
  }
}

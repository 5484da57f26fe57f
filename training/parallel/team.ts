/**
 * The leader's side of training with several processes: starts the members, meets with them, and notices when one
 * is lost. However the leader ends, its members end: a closed channel is their sign to go.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { assert, InvariantError, SomaError } from "../../base/errors.ts";
import {
  workerName,
  type LeaderMessage,
  type MemberMessage,
  type PlainFailure,
  type Rendezvous,
} from "./rendezvous.ts";
import type { SharedMemory } from "./shared-memory.ts";

/** Nothing between two meetings takes as long: a member that is still missing hangs. */
const WAIT_S_MAX = 600;
/** For members to end by themselves, from the middle of a step too. */
const GOODBYE_MS = 5_000;
/** Of a member's stderr, to tell why it died. */
const STDERR_TAIL_MAX = 2_000;

export interface TeamOptions {
  /** The members' program: a JavaScript file that calls `joinTeam`. */
  readonly entry: URL;
  /** Processes, the leader counted. */
  readonly size: number;
  readonly memory: SharedMemory;
  /** What members are told first; plain JSON. */
  readonly job: unknown;
  /** Over the leader's environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly waitMsMax?: number;
}

interface Member {
  readonly process: ChildProcess;
  stderrTail: string;
  /** What it brings to the meeting to come, once it has arrived. */
  word: string | undefined;
}

interface Waiting {
  readonly word: string;
  readonly resolve: (words: readonly string[]) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class Team implements Rendezvous {
  readonly rank = 0;
  readonly size: number;
  private readonly waitMsMax: number;
  private readonly members: readonly Member[];
  private waiting: Waiting | undefined;
  private failure: Error | undefined;
  private closing = false;

  /** Starts the members; they load while the leader goes on. `close()` must follow. */
  constructor(options: TeamOptions) {
    const { size, job, waitMsMax = 1000 * WAIT_S_MAX } = options;
    this.size = size;
    this.waitMsMax = waitMsMax;
    this.members = Array.from({ length: size - 1 }, (_, i) => this.startMember(i + 1, options));
    this.members.forEach(({ process }, i) => {
      send(process, { kind: "job", rank: i + 1, size, job });
    });
  }

  /** @throws SomaError WORKER_LOST, WORKER_SILENT, or what a member failed with */
  meet(word: string): Promise<readonly string[]> {
    assert(this.waiting === undefined, "the leader waits for one meeting at a time");
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.failure);
        return;
      }
      const timer = setTimeout(() => {
        this.failSilent();
      }, this.waitMsMax);
      this.waiting = { word, resolve, reject, timer };
      this.meetIfAllAreHere();
    });
  }

  /** Let the members go, and end those that do not; after a failure all at once. May be called at any time, and again. */
  async close(): Promise<void> {
    this.closing = true;
    const graceMs = this.failure === undefined ? GOODBYE_MS : 0;
    await Promise.all(this.members.map(({ process }) => dismiss(process, graceMs)));
  }

  private startMember(rank: number, { entry, memory, env }: TeamOptions): Member {
    const child = fork(entry, [], {
      env: { ...process.env, ...env },
      execArgv: [], // a debugger's port is the leader's
      // stdout carries the leader's document alone.
      stdio: ["ignore", "ignore", "pipe", "ipc", memory.fd],
    });
    const member: Member = { process: child, stderrTail: "", word: undefined };
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      member.stderrTail = (member.stderrTail + text).slice(-STDERR_TAIL_MAX);
    });
    child.on("message", (message: MemberMessage) => {
      const who = workerName(rank, this.size);
      switch (message.kind) {
        case "here":
          member.word = message.word;
          this.meetIfAllAreHere();
          break;
        case "failed":
          this.fail(failureOf(message.failure, who));
          break;
        case "crashed":
          this.fail(new InvariantError(`${who}: ${message.stack}`));
          break;
      }
    });
    child.on("error", (error) => {
      this.fail(this.lost(rank, error.message));
    });
    // "close" comes after "exit", when stderr has been read to its end.
    child.on("close", (code, signal) => {
      this.fail(this.lost(rank, endOf(code, signal, member.stderrTail)));
    });
    return member;
  }

  private meetIfAllAreHere(): void {
    const { waiting } = this;
    if (waiting === undefined) return;
    const words = [waiting.word];
    for (const { word } of this.members) {
      if (word === undefined) return;
      words.push(word);
    }
    clearTimeout(waiting.timer);
    this.waiting = undefined;
    for (const member of this.members) {
      member.word = undefined;
      send(member.process, { kind: "words", words });
    }
    waiting.resolve(words);
  }

  private failSilent(): void {
    const missing = this.members.findIndex(({ word }) => word === undefined);
    this.fail(
      new SomaError({
        code: "WORKER_SILENT",
        kind: "timedOut",
        what: `${workerName(missing + 1, this.size)} has not answered for ${this.waitMsMax / 1000} s`,
        next: NEXT,
      }),
    );
  }

  private lost(rank: number, how: string): SomaError {
    return new SomaError({
      code: "WORKER_LOST",
      kind: "failure",
      what: `${workerName(rank, this.size)} ${how}`,
      next: NEXT,
    });
  }

  /** The first failure counts: others follow from it. */
  private fail(error: Error): void {
    if (this.closing) return;
    this.failure ??= error;
    const { waiting } = this;
    this.waiting = undefined;
    if (waiting === undefined) return;
    clearTimeout(waiting.timer);
    waiting.reject(this.failure);
  }
}

const NEXT =
  "what was saved before is kept: go on with soma train --resume RUN, or with fewer --workers";

/** Ends of a member, in words that follow "worker 2 of 4". */
function endOf(code: number | null, signal: NodeJS.Signals | null, stderr: string): string {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  // Of a stack, the line that says what; else the last word.
  const telling = lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1);
  const said = telling === undefined ? "" : `: ${telling.trim()}`;
  if (signal === null) return `ended with code ${code ?? "unknown"}${said}`;
  const guess = signal === "SIGKILL" ? " (by hand, or by the system for want of memory)" : "";
  return `was ended by ${signal}${guess}${said}`;
}

function failureOf({ code, kind, what, next }: PlainFailure, who: string): SomaError {
  return new SomaError({
    code,
    kind,
    what: `${who}: ${what}`,
    ...(next === undefined ? {} : { next }),
  });
}

/** A member that is gone is noticed by its "close", not here. */
function send(member: ChildProcess, message: LeaderMessage): void {
  member.send(message, () => undefined);
}

async function dismiss(member: ChildProcess, graceMs: number): Promise<void> {
  if (member.pid === undefined || member.exitCode !== null || member.signalCode !== null) return;
  const gone = once(member, "exit");
  if (member.connected) member.disconnect();
  const timer = setTimeout(() => member.kill("SIGKILL"), graceMs);
  await gone;
  clearTimeout(timer);
}

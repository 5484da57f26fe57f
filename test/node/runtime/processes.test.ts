/** Validators as processes with real files over loopback TCP: killed at any write, away, late, and robbed of their disk. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listenTcp } from "../../../node/network/tcp.ts";
import { HIGHEST_SIGNED_FILE, LOG_FILE } from "../../../node/storage/log-store.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { until } from "../../support/peers.ts";
import { transpileSources } from "../../support/transpile.ts";
import type { ValidatorLine, ValidatorProcessOptions } from "../../support/validator-process.ts";

const SIZE = 4;
const TIMEOUT_MS = 60_000;

let program = "";

beforeAll(async () => {
  program = await transpileSources([
    "test/support/validator-process.ts",
    "test/support/consensus-loop.ts",
  ]);
});

afterAll(async () => {
  await rm(program, { recursive: true, force: true });
});

/** One life of a validator. */
class Life {
  readonly child: ChildProcess;
  readonly lines: ValidatorLine[] = [];

  constructor(options: ValidatorProcessOptions) {
    this.child = fork(
      join(program, "test/support/validator-process.js"),
      [JSON.stringify(options)],
      {
        stdio: ["ignore", "pipe", "inherit", "ipc"],
      },
    );
    const { stdout } = this.child;
    if (stdout === null) throw new Error("stdout is a pipe");
    createInterface({ input: stdout }).on("line", (line) => {
      this.lines.push(JSON.parse(line) as ValidatorLine);
    });
  }

  get commits(): readonly Extract<ValidatorLine, { readonly kind: "commit" }>[] {
    return this.lines.flatMap((line) => (line.kind === "commit" ? line : []));
  }

  get lastIndex(): number {
    return this.commits.at(-1)?.index ?? 0;
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async kill(): Promise<void> {
    if (this.hasEnded) return;
    this.child.kill("SIGKILL");
    await once(this.child, "close");
  }
}

/** All lives of four validators, and their folders. */
class Committee {
  readonly lives: Life[][] = Array.from({ length: SIZE }, () => []);
  readonly folder: string;
  private readonly ports: readonly number[];

  private constructor(folder: string, ports: readonly number[]) {
    this.folder = folder;
    this.ports = ports;
  }

  static async make(): Promise<Committee> {
    const listeners = await Promise.all(
      Array.from({ length: SIZE }, () => listenTcp({ host: "127.0.0.1", port: 0 })),
    );
    for (const { server } of listeners) server.close();
    const folder = await mkdtemp(join(tmpdir(), "soma-processes-"));
    return new Committee(
      folder,
      listeners.map(({ port }) => port),
    );
  }

  start(index: number, diesAt = -1): Life {
    const life = new Life({ index, ports: this.ports, folder: this.path(index), diesAt });
    this.lives[index]?.push(life);
    return life;
  }

  path(index: number, file = ""): string {
    return join(this.folder, String(index), file);
  }

  async end(): Promise<void> {
    await Promise.all(this.lives.flat().map((life) => life.kill()));
    await rm(this.folder, { recursive: true, force: true });
  }

  /** In every life of everyone: one digest and one state of the application for each commit, each in order, no complaint. */
  check(): void {
    const known = new Map<number, string>();
    for (const life of this.lives.flat()) {
      expect(life.lines.filter(({ kind }) => kind === "complaint")).toEqual([]);
      let before: number | undefined;
      for (const { index, digest, chain } of life.commits) {
        if (before !== undefined) expect(index).toBe(before + 1);
        before = index;
        const value = `${digest} ${chain}`;
        expect(`${index} ${known.get(index) ?? value}`).toBe(`${index} ${value}`);
        known.set(index, value);
      }
    }
  }
}

async function withCommittee(run: (committee: Committee) => Promise<void>): Promise<void> {
  const committee = await Committee.make();
  try {
    await run(committee);
    committee.check();
  } finally {
    await committee.end();
  }
}

describe("validators as processes", () => {
  test(
    "one that is killed −9 at any write comes back, votes again, and all agree",
    () =>
      withCommittee(async (committee) => {
        const rng = seededRng(20, "processes");
        for (let i = 0; i < SIZE; i++) committee.start(i);
        const newest = (i: number): Life => {
          const life = committee.lives[i]?.at(-1);
          if (life === undefined) throw new Error("everyone was started");
          return life;
        };
        await until(() => newest(0).lastIndex > 10, "they begin", TIMEOUT_MS);
        for (let death = 0; death < 6; death++) {
          const victim = death % SIZE;
          const other = (victim + 1) % SIZE;
          await newest(victim).kill(); // between two writes
          // At opening, in the first rounds, or well under way.
          const armed = committee.start(victim, rng.uniform(death % 2 === 0 ? 8 : 60));
          await until(() => armed.hasEnded, "it dies at its write", TIMEOUT_MS);
          const life = committee.start(victim);
          const { lastIndex } = newest(other);
          const isBack = (): boolean =>
            life.lastIndex > lastIndex &&
            newest(other).commits.some(
              ({ index, authors }) => index > lastIndex && authors.includes(victim),
            );
          await until(isBack, `validator ${victim} is back and its blocks are ordered`, 20_000);
        }
      }),
    TIMEOUT_MS * 3,
  );

  test(
    "one that comes late, or without its log, or without anything, catches up and takes part; nobody signs twice",
    () =>
      withCommittee(async (committee) => {
        const [first] = [0, 1, 2].map((i) => committee.start(i));
        if (first === undefined) throw new Error("the first was started");
        await until(() => first.lastIndex > 80, "three go ahead", TIMEOUT_MS);
        const takesPart = async (life: Life, what: string): Promise<void> => {
          const from = first.lastIndex;
          const hasOrdered = (): boolean =>
            first.commits.some(({ index, authors }) => index > from && authors.includes(3));
          await until(() => life.lastIndex > from && hasOrdered(), what, 20_000);
          await life.kill();
        };
        const late = committee.start(3);
        await takesPart(late, "the late one takes part");
        expect(late.commits[0]?.index).toBe(1); // it has applied the whole history
        await rm(committee.path(3, LOG_FILE));
        await takesPart(committee.start(3), "it takes part without its log");
        await rm(committee.path(3), { recursive: true });
        await takesPart(committee.start(3), "it takes part without anything");
        await rm(committee.path(3, HIGHEST_SIGNED_FILE));
        await takesPart(committee.start(3), "it takes part with its log alone");
      }),
    TIMEOUT_MS * 2,
  );
});

/** A team of real processes: what they add up, and how it ends when one of them does. */
import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { Group, groupBytes } from "../../../training/parallel/group.ts";
import { SharedMemory } from "../../../training/parallel/shared-memory.ts";
import { Team } from "../../../training/parallel/team.ts";
import { transpileSources } from "../../support/transpile.ts";

/** What a member does is said by its job. */
const MEMBER = `
import { joinTeam } from "./training/parallel/member.js";
import { Group } from "./training/parallel/group.js";
import { MEMORY_FD } from "./training/parallel/rendezvous.js";
import { SharedMemory } from "./training/parallel/shared-memory.js";
import { SomaError } from "./base/errors.js";
joinTeam(async (rendezvous, job) => {
  const { rank } = rendezvous;
  const group = new Group(rendezvous, new SharedMemory(MEMORY_FD));
  await group.hear();
  const mine = job[rank] ?? "work";
  if (mine === "refuse") throw new SomaError({ code: "NOT_FINITE", kind: "failure", what: "no", next: "yes" });
  if (mine === "crash") throw new TypeError("a bug");
  if (mine === "die") process.kill(process.pid, "SIGKILL");
  if (mine === "abort") { console.error("out of everything"); process.exit(9); }
  if (mine === "hang") for (;;);
  if (mine === "forever") for (;;) await group.hear();
  for (let turn = 0; turn < 20; turn++) {
    const values = new Float32Array(1_500_000).fill((rank + 1) * turn);
    await group.sum(values);
    await group.gather(values.subarray(0, rank));
  }
});
`;

// Processes that wait for each other take their time where others want the same cores.
vi.setConfig({ testTimeout: 240_000 });

let program: string;
beforeAll(async () => {
  program = await transpileSources();
  await writeFile(join(program, "member.js"), MEMBER);
  await writeFile(join(program, "leader.js"), LEADER);
});
afterAll(() => rm(program, { recursive: true, force: true }));

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A team whose members do what `job` says of their rank. */
function teamOf(size: number, job: Readonly<Record<number, string>>, waitMsMax?: number): Group {
  const memory = SharedMemory.create(groupBytes(size), `soma-test-${randomUUID()}`);
  const team = new Team({
    entry: pathToFileURL(join(program, "member.js")),
    size,
    memory,
    job,
    env: {},
    ...(waitMsMax === undefined ? {} : { waitMsMax }),
  });
  closing.push(async () => {
    await team.close();
    memory.close();
  });
  return new Group(team, memory);
}

test("processes add up and collect what each of them has", async () => {
  const group = teamOf(3, {});
  await group.hear("begin");
  for (let turn = 0; turn < 20; turn++) {
    const values = new Float32Array(1_500_000).fill(turn);
    await group.sum(values);
    expect(values.every((value) => value === 6 * turn)).toBe(true);
    const gathered = await group.gather(values.subarray(0, 0));
    expect(gathered).toEqual([
      new Float32Array(0),
      new Float32Array(1).fill(6 * turn),
      new Float32Array(2).fill(6 * turn),
    ]);
  }
});

test.each([
  [
    "die",
    {
      code: "WORKER_LOST",
      message: expect.stringMatching(/^worker 2 of 3 was ended by SIGKILL/) as string,
    },
  ],
  ["abort", { code: "WORKER_LOST", message: "worker 2 of 3 ended with code 9: out of everything" }],
  ["refuse", { code: "NOT_FINITE", message: "worker 2 of 3: no", next: "yes" }],
  [
    "crash",
    {
      name: "InvariantError",
      message: expect.stringMatching(/^worker 2 of 3: TypeError: a bug/) as string,
    },
  ],
])("when a member %ss, the leader's next meeting says which and why", async (how, error) => {
  const group = teamOf(3, { 1: how, 2: "forever" });
  await group.hear("begin");
  await expect(group.hear("go on")).rejects.toMatchObject(error);
  await expect(group.hear("and on")).rejects.toMatchObject(error);
});

test("a member that hangs is named after a while, and ended", async () => {
  const group = teamOf(2, { 1: "hang" }, 1_000);
  await group.hear("begin");
  await expect(group.hear("go on")).rejects.toMatchObject({
    code: "WORKER_SILENT",
    message: "worker 2 of 2 has not answered for 1 s",
  });
});

/** A leader in a process of its own, to be killed. Prints its members' ids. */
const LEADER = `
import { Group, groupBytes } from "./training/parallel/group.js";
import { SharedMemory } from "./training/parallel/shared-memory.js";
import { Team } from "./training/parallel/team.js";
const memory = SharedMemory.create(groupBytes(3), process.argv[2]);
const entry = new URL("./member.js", import.meta.url);
const team = new Team({ entry, size: 3, memory, job: { 1: "forever", 2: "forever" }, env: {} });
const group = new Group(team, memory);
await group.hear("begin");
console.log(JSON.stringify(team.members.map(({ process }) => process.pid)));
for (;;) await group.hear("go on");
`;

test.skipIf(process.platform === "win32")(
  "when the leader is killed, its members end and the shared memory is gone",
  async () => {
    const name = `soma-test-${randomUUID()}`;
    const leader: ChildProcess = spawn(process.execPath, [join(program, "leader.js"), name], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(leader.stdout ?? leader, "data")) as [Buffer];
    const members = JSON.parse(line.toString()) as number[];
    expect(members.map(isAlive)).toEqual([true, true]);
    if (process.platform === "linux") expect(await readdir("/dev/shm")).not.toContain(name);
    leader.kill("SIGKILL");
    await once(leader, "exit");
    for (let tries = 0; tries < 100 && members.some(isAlive); tries++) await sleep(50);
    expect(members.map(isAlive)).toEqual([false, false]);
  },
);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

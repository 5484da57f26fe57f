import { describe, expect, test } from "vitest";
import { BAN_MS, STRIKES_MAX } from "../../../node/runtime/limits.ts";
import { DEFAULT_CONSENSUS_PARAMETERS } from "../../../protocol/base/parameters.ts";
import { sealCommit, type Commit } from "../../../protocol/consensus/commit.ts";
import type { ConsensusEffect, LogRecord } from "../../../protocol/consensus/events.ts";
import { type Bench, driverBench, HandStore, ListApplication } from "../../support/driver-ports.ts";
import { madeBlock } from "../../support/log-records.ts";
import { PEER_COMMITTEE } from "../../support/peers.ts";

const own = madeBlock(1, 0, 10);
const later = madeBlock(2, 0, 10);

function started(parts: Parameters<typeof driverBench>[0] = {}): Bench {
  const bench = driverBench(parts);
  bench.driver.start();
  for (const peer of [1, 2, 3]) bench.network.peer.connected(peer);
  return bench;
}

function persisted(block = own): ConsensusEffect {
  const records: readonly LogRecord[] = [{ kind: "block", block }];
  return { kind: "persist", records, durable: true, highestSignedRound: block.round };
}

/** A step of the core that answers so. */
function step(bench: Bench, ...effects: readonly ConsensusEffect[]): void {
  bench.answers.push(effects);
  bench.driver.submit({ id: 0, count: 1, frames: Uint8Array.of(0) });
}

/** Commits 1, 2, … each of one block of its round, and their records in log order. */
function history(count: number): { readonly commits: Commit[]; readonly records: LogRecord[] } {
  const commits: Commit[] = [];
  const records: LogRecord[] = [];
  let previousDigest = PEER_COMMITTEE.genesisDigest;
  for (let index = 1; index <= count; index++) {
    const block = madeBlock(index, 1, 20);
    const { ref } = block;
    const commit = sealCommit({
      index,
      previousDigest,
      leader: ref,
      blocks: [ref],
      timestampMs: index,
    });
    previousDigest = commit.digest;
    commits.push(commit);
    records.push({ kind: "block", block }, { kind: "commit", commit });
  }
  return { commits, records };
}

function commitEffect(commit: Commit): ConsensusEffect {
  return { kind: "commit", commit, blocks: [madeBlock(commit.index, 1, 20)] };
}

describe("effects", () => {
  test("an own block leaves only when it is on disk, and nothing is stepped meanwhile", () => {
    const bench = started();
    bench.store.holds = true;
    step(bench, persisted(), { kind: "broadcast", block: own });
    bench.network.peer.received(1, { kind: "blocks", blocks: [later.bytes] }, () => undefined);
    bench.clock.turnTo(5000);
    expect(bench.network.to("blocks")).toEqual([]);
    expect(bench.events.map(({ kind }) => kind)).toEqual(["started", "transactionsSubmitted"]);
    bench.store.flushes[0]?.();
    expect(bench.network.to("blocks")).toEqual([1, 2, 3]);
    expect(bench.events.map(({ kind }) => kind)).toEqual([
      "started",
      "transactionsSubmitted",
      "blocksReceived",
    ]);
    expect(bench.events[2]?.now).toBe(5000); // the time of the step, not of the arrival
  });

  test("a persist that is not durable is not waited for", () => {
    const bench = started();
    bench.store.holds = true;
    step(
      bench,
      { kind: "persist", records: [{ kind: "block", block: own }], durable: false },
      { kind: "broadcast", block: own },
    );
    expect(bench.network.to("blocks")).toEqual([1, 2, 3]);
  });

  test("a message counts as dealt with when it is stepped, not when it comes", () => {
    const bench = started();
    bench.store.holds = true;
    step(bench, persisted());
    let released = 0;
    bench.network.peer.received(1, { kind: "blocks", blocks: [] }, () => released++);
    expect(released).toBe(0);
    bench.store.flushes[0]?.();
    expect(released).toBe(1);
  });

  test("of transactions no more wait for the disk than may wait for a block; the rest is refused at once", () => {
    const bench = started();
    bench.store.holds = true;
    step(bench, persisted());
    const half = DEFAULT_CONSENSUS_PARAMETERS.pendingTransactionBytesMax / 2;
    const frames = new Uint8Array(half);
    const refused = (): readonly number[] =>
      bench.notices.flatMap((notice) =>
        notice.kind === "transactionsRefused" ? [notice.batch] : [],
      );
    for (const id of [1, 2, 3]) bench.driver.submit({ id, count: 1, frames });
    expect(refused()).toEqual([3]);
    bench.store.flushes[0]?.();
    expect(bench.events.filter(({ kind }) => kind === "transactionsSubmitted").length).toBe(3);
    bench.driver.submit({ id: 4, count: 1, frames }); // room again
    expect(refused()).toEqual([3]);
  });

  test("a timer fires once, where it was set last", () => {
    const bench = started();
    step(
      bench,
      { kind: "setTimer", timer: "leaderTimeout", at: 1100 },
      { kind: "setTimer", timer: "leaderTimeout", at: 1300 },
      { kind: "setTimer", timer: "roundDelay", at: 1200 },
    );
    const before = bench.events.length;
    bench.clock.turnTo(2000);
    expect(bench.events.slice(before)).toEqual([
      { kind: "timerFired", timer: "roundDelay", now: 1200 },
      { kind: "timerFired", timer: "leaderTimeout", now: 1300 },
    ]);
  });

  test("after it has halted nothing is stepped, sent or written", () => {
    const bench = started();
    step(bench, { kind: "halted", reason: "two commits" }, { kind: "broadcast", block: own });
    expect(bench.notices.at(-1)).toMatchObject({
      kind: "failed",
      error: { code: "CONSENSUS_HALTED" },
    });
    expect(bench.network.isStopped).toBe(true);
    expect(bench.store.isClosed).toBe(true);
    step(bench);
    expect(bench.events.length).toBe(2);
    expect(bench.network.to("blocks")).toEqual([]);
  });
});

describe("requests", () => {
  const fetch = (request: number, peer: number): ConsensusEffect => ({
    kind: "fetchBlocks",
    request,
    peer,
    refs: [own.ref],
  });

  test("an answer counts once, and only from whom was asked", () => {
    const bench = started();
    step(bench, fetch(7, 1));
    const before = bench.events.length;
    const answer = { kind: "fetchedBlocks", request: 7, blocks: [own.bytes] } as const;
    let released = 0;
    for (const peer of [2, 1, 1]) bench.network.peer.received(peer, answer, () => released++);
    expect(bench.events.slice(before).map(({ kind }) => kind)).toEqual(["blocksFetched"]);
    expect(released).toBe(3);
  });

  test("what cannot be sent fails at once, what a lost peer owes fails then", () => {
    const bench = started();
    bench.network.full.add(2);
    step(bench, fetch(1, 2), fetch(2, 1), fetch(3, 1));
    expect(bench.events.slice(2)).toMatchObject([{ kind: "fetchFailed", request: 1 }]);
    bench.network.peer.disconnected(1);
    expect(bench.events.slice(3)).toMatchObject([
      { kind: "fetchFailed", request: 2 },
      { kind: "fetchFailed", request: 3 },
    ]);
  });

  test("peers are answered from the log, while the core waits for the disk", () => {
    const bench = started();
    bench.store.holds = true;
    step(bench, persisted());
    const refs = [later.ref, own.ref];
    bench.network.peer.received(2, { kind: "fetchBlocks", request: 5, refs }, () => undefined);
    expect(bench.network.sent.at(-1)).toEqual({
      peer: 2,
      message: { kind: "fetchedBlocks", request: 5, blocks: [own.bytes] },
    });
    bench.network.peer.received(1, { kind: "askOwnBlock" }, () => undefined);
    expect(bench.network.sent.at(-1)?.message).toEqual({ kind: "ownBlock", block: undefined });
  });

  test("commits are served up to the last that enough votes in the log certify", () => {
    const bench = started();
    const { commits, records } = history(5);
    const [, , third] = commits;
    if (third === undefined) throw new Error("five commits");
    const votes = [1, 2].map((author) => madeBlock(6, author, 5, commits.slice(0, 3)));
    const oneVote = madeBlock(7, 1, 5, commits.slice(3)); // of one who may be faulty
    bench.store.append(records);
    const ask = { kind: "fetchCommits", request: 9, fromIndex: 2, toIndex: 5 } as const;
    bench.network.peer.received(3, ask, () => undefined);
    expect(bench.network.sent.at(-1)?.message).toEqual({
      kind: "fetchedCommits",
      request: 9,
      commits: [],
      certifiers: [],
    });
    bench.store.append([...votes, oneVote].map((block) => ({ kind: "block", block })));
    bench.network.peer.received(3, ask, () => undefined);
    const answer = bench.network.sent.at(-1)?.message;
    if (answer?.kind !== "fetchedCommits") throw new Error("commits were asked for");
    expect(answer.commits.length).toBe(2); // 2 and 3
    expect(answer.certifiers).toEqual(votes.map(({ headerBytes }) => headerBytes));
  });
});

describe("own blocks", () => {
  test("a slow peer is sent what it lacks when there is room; the others do not wait", () => {
    const bench = started();
    bench.network.full.add(2);
    step(bench, { kind: "broadcast", block: own });
    step(bench, { kind: "broadcast", block: later });
    expect(bench.network.to("blocks")).toEqual([1, 3, 1, 3]);
    bench.network.full.delete(2);
    bench.network.peer.writable(2);
    const got = bench.network.sent.filter(
      ({ peer, message }) => peer === 2 && message.kind === "blocks",
    );
    expect(got.map(({ message }) => message)).toEqual([
      { kind: "blocks", blocks: [own.bytes] },
      { kind: "blocks", blocks: [later.bytes] },
    ]);
  });

  test("a peer that subscribes is sent what is above its round, and the last block in any case", () => {
    const bench = started();
    step(bench, { kind: "broadcast", block: own });
    step(bench, { kind: "broadcast", block: later });
    for (const [aboveRound, wanted] of [
      [0, [own.bytes, later.bytes]],
      [1, [later.bytes]],
      [9, [later.bytes]],
    ] as const) {
      bench.network.sent.length = 0;
      bench.network.peer.received(1, { kind: "subscribe", aboveRound }, () => undefined);
      const blocks = bench.network.sent.flatMap(({ message }) =>
        message.kind === "blocks" ? message.blocks : [],
      );
      expect(blocks).toEqual(wanted);
    }
  });

  test("a block that is broadcast again goes to everyone again", () => {
    const bench = started();
    step(bench, { kind: "broadcast", block: own });
    step(bench, { kind: "broadcast", block: own });
    expect(bench.network.to("blocks")).toEqual([1, 2, 3, 1, 2, 3]);
  });

  test("after a restart those in the log are sent to who lacks them", () => {
    const store = new HandStore();
    store.append([own, later].map((block) => ({ kind: "block", block })));
    const bench = started({ store });
    expect(bench.network.to("blocks")).toEqual([]);
    bench.network.peer.received(3, { kind: "subscribe", aboveRound: 0 }, () => undefined);
    expect(bench.network.to("blocks")).toEqual([3, 3]);
  });
});

describe("blame", () => {
  test(`${STRIKES_MAX} broken rules ban a peer, from the core or from the transport; fewer do not`, () => {
    const bench = started();
    const misbehaved: ConsensusEffect = {
      kind: "misbehaved",
      peer: 2,
      code: "BAD_SIGNATURE",
      detail: "",
    };
    step(bench, misbehaved);
    bench.network.peer.misbehaved(1, "TRUNCATED", "");
    for (let strike = 1; strike < STRIKES_MAX; strike++) {
      expect(bench.network.bans).toEqual([]);
      bench.network.peer.misbehaved(2, "FRAME_TIMEOUT", "");
    }
    expect(bench.network.bans).toEqual([2]);
    expect(bench.notices.at(-1)).toEqual({ kind: "banned", peer: 2 });
    expect(BAN_MS).toBeGreaterThan(0);
  });
});

describe("the application", () => {
  test("is given each commit once, and its watermark goes into the log behind the commit", () => {
    const bench = started();
    const { commits, records } = history(2);
    step(bench, { kind: "persist", records, durable: false }, ...commits.map(commitEffect));
    expect(bench.application.applied).toEqual([1, 2]);
    const applied = bench.store.recover().applied;
    expect(applied).toMatchObject({ index: 2, state: Uint8Array.of(2) });
  });

  test("is brought up to date from the log after a crash, before the core starts", () => {
    const store = new HandStore();
    const { commits, records } = history(600);
    store.append(records);
    const at = commits[9];
    if (at === undefined) throw new Error("600 commits");
    store.appendApplied({ index: 10, digest: at.digest, state: Uint8Array.of(10) });
    const bench = started({ store });
    expect(bench.application.applied).toEqual(Array.from({ length: 590 }, (_, i) => i + 11));
    expect(bench.notices[0]).toMatchObject({ kind: "started", replayedCount: 590 });
    expect(store.recover().applied?.index).toBe(600);
  });

  test("that is ahead of the log gets no commit twice", () => {
    const { commits, records } = history(4);
    const [, second, third] = commits;
    if (second === undefined || third === undefined) throw new Error("four commits");
    const store = new HandStore();
    store.append(records.slice(0, 4)); // the log lost commits 3 and 4
    const application = new ListApplication({ index: 3, digest: third.digest });
    const bench = started({ store, application });
    step(bench, ...commits.slice(2).map(commitEffect)); // decided again
    expect(application.applied).toEqual([4]);
  });

  test("that is ahead with another history stops the node, exit code 5", () => {
    const { commits } = history(1);
    const application = new ListApplication({ index: 1, digest: new Uint8Array(32).fill(1) });
    const bench = started({ application });
    step(bench, ...commits.map(commitEffect));
    expect(bench.notices.at(-1)).toMatchObject({
      kind: "failed",
      error: { code: "APPLICATION_DIVERGED", exitCode: 5 },
    });
    expect(application.applied).toEqual([]);
  });

  test("that stands on another history than the log stops the node before it starts", () => {
    const store = new HandStore();
    store.append(history(2).records);
    const application = new ListApplication({ index: 1, digest: new Uint8Array(32).fill(1) });
    const bench = driverBench({ store, application });
    bench.driver.start();
    expect(bench.notices).toMatchObject([
      { kind: "failed", error: { code: "APPLICATION_DIVERGED" } },
    ]);
    expect(bench.events).toEqual([]);
  });

  test("whose commit names a block that the log lacks is told so", () => {
    const store = new HandStore();
    store.append(history(2).records.slice(1)); // without the first block
    const bench = driverBench({ store });
    bench.driver.start();
    expect(bench.notices).toMatchObject([
      { kind: "failed", error: { code: "LOG_INCOMPLETE", exitCode: 5 } },
    ]);
  });
});

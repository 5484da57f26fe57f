import { describe, expect, test } from "vitest";
import { consensusParameters } from "../../../protocol/base/parameters.ts";
import { type BlockRef, refKey } from "../../../protocol/consensus/block.ts";
import { Synchronizer } from "../../../protocol/consensus/synchronizer.ts";

const OWN = 0;
const PEERS = 5;
const DELAY = 50;
const INTERVAL = 200;
const TIMEOUT = 2000;

function ref(author: number, round = 1): BlockRef {
  return { round, author, digest: Uint8Array.from({ length: 32 }, () => author) };
}

function setUp(changes: Parameters<typeof consensusParameters>[0] = {}): {
  readonly synchronizer: Synchronizer;
  readonly wanted: Map<string, BlockRef>;
  readonly miss: (refs: readonly BlockRef[], from: number, now: number) => void;
} {
  const wanted = new Map<string, BlockRef>();
  let id = 0;
  const synchronizer = new Synchronizer({
    peerCount: PEERS,
    ownIndex: OWN,
    parameters: consensusParameters({
      fetchDelayMs: DELAY,
      synchronizeIntervalMs: INTERVAL,
      fetchTimeoutMs: TIMEOUT,
      ...changes,
    }),
    wanted,
    nextRequestId: () => ++id,
  });
  const miss = (refs: readonly BlockRef[], from: number, now: number): void => {
    for (const each of refs) wanted.set(refKey(each), each);
    synchronizer.miss(refs, from, now);
  };
  return { synchronizer, wanted, miss };
}

test("what is missed may still come by itself: it is asked for a moment later, and then not at all", () => {
  const { synchronizer, wanted, miss } = setUp();
  expect(synchronizer.dueAt).toBe(Infinity);
  miss([ref(3)], 2, 1000);
  expect(synchronizer.dueAt).toBe(1000 + DELAY);
  expect(synchronizer.tick(1000 + DELAY - 1, false)).toEqual([]);
  wanted.clear();
  expect(synchronizer.tick(1000 + DELAY, false)).toEqual([]);
  expect(synchronizer.dueAt).toBe(Infinity);
});

test("first who referred to it is asked, then its author, then everybody else in turn; never ourselves", () => {
  const { synchronizer, miss } = setUp();
  miss([ref(3)], 2, 0);
  const peers: number[] = [];
  let now = DELAY;
  while (peers.length < 7) {
    for (const { request, peer } of synchronizer.tick(now, false)) {
      peers.push(peer);
      synchronizer.close(request, now); // it had nothing
    }
    now = synchronizer.dueAt;
  }
  expect(peers).toEqual([2, 3, 4, 1, 2, 3, 4]);
});

test("a silent peer is not waited for: a while later the next one is asked, a referrer before any other", () => {
  const { synchronizer, miss } = setUp();
  miss([ref(3)], 2, 0);
  const asked: [number, number][] = [];
  for (let now = 0; now < DELAY + 3 * INTERVAL; now += 10) {
    if (now === DELAY + 10) miss([ref(3)], 4, now);
    for (const { peer } of synchronizer.tick(now, false)) asked.push([now, peer]);
  }
  expect(asked).toEqual([
    [DELAY, 2],
    [DELAY + INTERVAL, 4],
    [DELAY + 2 * INTERVAL, 3],
  ]);
});

test("of those that refer to a block the one that owes the fewest answers is asked first", () => {
  const { synchronizer, miss } = setUp();
  miss([ref(3, 1)], 1, 0);
  expect(synchronizer.tick(DELAY, false).map(({ peer }) => peer)).toEqual([1]); // and is silent
  miss([ref(3, 2)], 1, DELAY + 1);
  miss([ref(3, 2)], 4, DELAY + 2);
  expect(synchronizer.tick(2 * DELAY + 1, false).map(({ peer }) => peer)).toEqual([4]);
});

describe("requests", () => {
  test("hold so many references, and a peer has so many of them open", () => {
    const { synchronizer, miss } = setUp({ fetchRefsMax: 3, fetchRequestsPerPeerMax: 2 });
    const refs = Array.from({ length: 12 }, (_, i) => ref(2, i + 1));
    miss(refs, 2, 0);
    const first = synchronizer.tick(DELAY, false);
    // Peer 2 referred to all: three go to it, the rest to their next ones.
    for (const { refs: each } of first) expect(each.length).toBeLessThanOrEqual(3);
    expect(first.flatMap((each) => each.refs).length).toBe(12);
    const open = new Map<number, number>();
    for (let now = DELAY; now < DELAY + TIMEOUT; now += INTERVAL) {
      for (const { peer } of now === DELAY ? first : synchronizer.tick(now, false)) {
        open.set(peer, (open.get(peer) ?? 0) + 1);
      }
    }
    for (const count of open.values()) expect(count).toBeLessThanOrEqual(2);
  });

  test("are answered once: what comes for a closed one is no answer", () => {
    const { synchronizer, miss } = setUp();
    miss([ref(3)], 2, 0);
    const [made] = synchronizer.tick(DELAY, false);
    expect(synchronizer.close(made?.request ?? 0, DELAY)?.refs.has(refKey(ref(3)))).toBe(true);
    expect(synchronizer.close(made?.request ?? 0, DELAY)).toBeUndefined();
    expect(synchronizer.close(99, DELAY)).toBeUndefined();
  });
});

test("while commits are fetched nothing is asked for, and afterwards all that is still missed", () => {
  const { synchronizer, miss } = setUp();
  miss([ref(3), ref(4)], 2, 0);
  for (let now = 0; now < 5000; now += INTERVAL) expect(synchronizer.tick(now, true)).toEqual([]);
  const asked = synchronizer.tick(synchronizer.dueAt, false);
  expect(asked.flatMap(({ refs }) => refs).length).toBe(2);
});

test("what became wanted without being reported is asked for as well", () => {
  const { synchronizer, wanted, miss } = setUp();
  miss([ref(3)], 2, 0);
  wanted.set(refKey(ref(4)), ref(4));
  const asked = synchronizer.tick(DELAY, false).flatMap(({ refs }) => refs.map(refKey));
  expect(asked.sort()).toEqual([refKey(ref(3)), refKey(ref(4))].sort());
});

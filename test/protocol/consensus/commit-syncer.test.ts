import { beforeAll, describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { consensusParameters } from "../../../protocol/base/parameters.ts";
import { Block, refKey } from "../../../protocol/consensus/block.ts";
import { BlockVerifier } from "../../../protocol/consensus/block-verifier.ts";
import {
  CertifierIndex,
  CommitProgress,
  isCertified,
} from "../../../protocol/consensus/certifiers.ts";
import { type Commit, encodeCommit, sealCommit } from "../../../protocol/consensus/commit.ts";
import { type CommitRequest, CommitSyncer } from "../../../protocol/consensus/commit-syncer.ts";
import { committeeSignatures } from "../../../protocol/consensus/signatures.ts";
import { ConsensusLoop, type LoopNode } from "../../support/consensus-loop.ts";

const parameters = consensusParameters({
  commitLagStart: 10,
  commitsPerFetchMax: 8,
  commitFetchesMax: 3,
});
const VOTES_MAX = 100;

/** Four that have gone on for a while: what they say and store is what a latecomer is told. */
let loop: ConsensusLoop;
let server: LoopNode;
beforeAll(() => {
  loop = new ConsensusLoop({ size: 4, seed: 40 });
  loop.run(3000);
  server = loop.node(0);
});

function setUp(): {
  readonly syncer: CommitSyncer;
  readonly ask: (now: number) => readonly CommitRequest[];
} {
  const { committee } = loop;
  const progress = new CommitProgress(committee);
  for (const bytes of server.blocks.values()) progress.note(new Block(bytes, VOTES_MAX));
  const verifier = new BlockVerifier({
    committee,
    parameters,
    checkSignature: committeeSignatures(committee),
  });
  let id = 0;
  const syncer = new CommitSyncer({
    committee,
    ownIndex: 3,
    parameters,
    verifier,
    progress,
    nextRequestId: () => ++id,
    hasBlock: () => false,
  });
  syncer.observe(0, 0);
  return { syncer, ask: (now) => syncer.tick(0, now).commits };
}

function commitBytes({ fromIndex, toIndex }: CommitRequest): readonly Uint8Array[] {
  return server.commits.slice(fromIndex - 1, toIndex).map(encodeCommit);
}

/** Signed headers whose votes certify a commit. */
function certifiersOf(index: number): readonly Uint8Array[] {
  const commit = present(server.commits[index - 1], "a commit");
  const refs = present(server.certifiers.certifiersOf(commit), "it is certified");
  return refs.map((ref) => {
    const bytes = present(server.blocks.get(refKey(ref)), "it is stored");
    return new Block(bytes, VOTES_MAX).headerBytes;
  });
}

const firstOf = (requests: readonly CommitRequest[]): CommitRequest =>
  present(requests[0], "a request");

test("a node to which nothing comes goes on as if it were not behind, until something does", () => {
  const { syncer, ask } = setUp();
  const timeout = parameters.fetchTimeoutMs;
  expect(syncer.isCatchingUp).toBe(true);
  syncer.observe(0, timeout - 1);
  expect(syncer.isCatchingUp).toBe(true);
  syncer.observe(0, timeout);
  expect(syncer.isCatchingUp).toBe(false);
  const request = firstOf(ask(timeout)); // and goes on asking
  syncer.commitsFetched(
    request.request,
    commitBytes(request),
    certifiersOf(request.toIndex),
    timeout,
  );
  expect(syncer.isCatchingUp).toBe(true);
});

test("a node that is near asks for nothing", () => {
  const { syncer } = setUp();
  const last = server.commits.length;
  const near = setUp().syncer;
  near.observe(last - 3, 0);
  expect(near.isCatchingUp).toBe(false); // it was far, and has come near
  expect(syncer.isCatchingUp).toBe(true);
});

test("a node that is far asks several peers for ranges that follow one another, never itself", () => {
  const { ask } = setUp();
  const requests = ask(0);
  expect(requests.map(({ fromIndex, toIndex }) => [fromIndex, toIndex])).toEqual([
    [1, 8],
    [9, 16],
    [17, 24],
  ]);
  expect(requests.map(({ peer }) => peer)).toEqual([0, 1, 2]);
  expect(ask(1)).toEqual([]); // all that may be open is open
});

test("a range that did not come is asked for elsewhere", () => {
  const { ask, syncer } = setUp();
  const [first] = ask(0);
  syncer.fail(present(first, "a request").request, 10);
  const again = ask(10 + parameters.fetchDelayMs);
  expect(again).toMatchObject([{ fromIndex: 1, toIndex: 8, peer: 0 }]);
  const silent = ask(10 + parameters.fetchDelayMs + parameters.fetchTimeoutMs);
  expect(silent.map(({ fromIndex }) => fromIndex).sort((a, b) => a - b)).toEqual([1, 9, 17]);
});

describe("an answer", () => {
  test("that proves its last commit is taken whole; a short one leaves the rest to be asked for", () => {
    const { ask, syncer } = setUp();
    const request = firstOf(ask(0));
    const commits = commitBytes(request).slice(0, 5);
    syncer.commitsFetched(request.request, commits, certifiersOf(5), 1);
    expect([0, 1, 2, 3, 4, 5].map((index) => syncer.next(index)?.index)).toEqual([
      1,
      2,
      3,
      4,
      5,
      undefined,
    ]);
    expect(ask(1)).toMatchObject([{ fromIndex: 6, toIndex: 8 }]);
  });

  const refusals: readonly [
    string,
    (request: CommitRequest) => {
      readonly commits: readonly Uint8Array[];
      readonly certifiers: readonly Uint8Array[];
    },
    string,
  ][] = [
    ["without votes", (r) => ({ commits: commitBytes(r), certifiers: [] }), "COMMIT_NOT_CERTIFIED"],
    [
      "with one vote given three times",
      (r) => ({
        commits: commitBytes(r),
        certifiers: [0, 0, 0].map((i) => present(certifiersOf(r.toIndex)[i], "a vote")),
      }),
      "COMMIT_NOT_CERTIFIED",
    ],
    [
      "with too few votes",
      (r) => ({ commits: commitBytes(r), certifiers: certifiersOf(r.toIndex).slice(1) }),
      "COMMIT_NOT_CERTIFIED",
    ],
    [
      "with votes for another commit",
      (r) => ({ commits: commitBytes(r), certifiers: certifiersOf(r.toIndex + 10) }),
      "COMMIT_NOT_CERTIFIED",
    ],
    [
      "with a header nobody signed",
      (r) => ({ commits: commitBytes(r), certifiers: certifiersOf(r.toIndex).map(unsigned) }),
      "BAD_SIGNATURE",
    ],
    [
      "that begins elsewhere",
      (r) => ({ commits: commitBytes(r).slice(1), certifiers: certifiersOf(r.toIndex) }),
      "COMMIT_CHAIN",
    ],
    [
      "with a commit left out",
      (r) => ({
        commits: commitBytes(r).filter((_, i) => i !== 3),
        certifiers: certifiersOf(r.toIndex),
      }),
      "COMMIT_CHAIN",
    ],
    [
      "with a commit changed in the middle",
      (r) => ({
        commits: commitBytes(r).map((bytes, i) => (i === 3 ? forgedTime(r.fromIndex + i) : bytes)),
        certifiers: certifiersOf(r.toIndex),
      }),
      "COMMIT_CHAIN",
    ],
    [
      "with its last commit changed",
      (r) => ({
        commits: [...commitBytes(r).slice(0, -1), forgedTime(r.toIndex)],
        certifiers: certifiersOf(r.toIndex),
      }),
      "COMMIT_NOT_CERTIFIED",
    ],
    [
      "with more commits than asked for",
      (r) => ({
        commits: server.commits.slice(0, r.toIndex + 1).map(encodeCommit),
        certifiers: certifiersOf(r.toIndex),
      }),
      "NOT_ASKED_FOR",
    ],
    [
      "with bytes that are no commit",
      () => ({ commits: [Uint8Array.of(1, 2)], certifiers: [] }),
      "TRUNCATED",
    ],
  ];
  test.each(refusals)(
    "%s is refused, and its range asked for elsewhere",
    (_title, answer, code) => {
      const { ask, syncer } = setUp();
      const request = firstOf(ask(0));
      const { commits, certifiers } = answer(request);
      expect(() => {
        syncer.commitsFetched(request.request, commits, certifiers, 1);
      }).toThrow(code);
      expect(syncer.next(0)).toBeUndefined();
      expect(ask(1 + parameters.fetchDelayMs)).toMatchObject([{ fromIndex: 1, toIndex: 8 }]);
    },
  );

  test("to no request of ours is nothing", () => {
    const { syncer } = setUp();
    syncer.commitsFetched(99, [], [], 1);
    syncer.blocksFetched(99, [], 1);
    expect(syncer.peerOf(99)).toBeUndefined();
  });
});

function unsigned(header: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(header);
  bytes.fill(0, bytes.length - 64);
  return bytes;
}

/** A commit with another time: its digest is another. */
function forgedTime(index: number): Uint8Array {
  const commit: Commit = present(server.commits[index - 1], "a commit");
  return encodeCommit(sealCommit({ ...commit, timestampMs: commit.timestampMs + 1 }));
}

describe("blocks of certified commits", () => {
  function certified(): {
    readonly syncer: CommitSyncer;
    readonly refs: readonly {
      readonly round: number;
      readonly author: number;
      readonly digest: Uint8Array;
    }[];
    readonly request: number;
  } {
    const { ask, syncer } = setUp();
    const request = firstOf(ask(0));
    syncer.commitsFetched(request.request, commitBytes(request), certifiersOf(request.toIndex), 1);
    const [blocks] = syncer.tick(0, 1).blocks;
    const asked = present(blocks, "a request for blocks");
    return { syncer, refs: asked.refs, request: asked.request };
  }

  test("are asked for in the order of the commits", () => {
    const { refs } = certified();
    const expected = server.commits.slice(0, 8).flatMap(({ blocks }) => blocks.map(refKey));
    expect(refs.map(refKey)).toEqual(expected.slice(0, parameters.fetchRefsMax));
  });

  test("are taken by their digest; what did not come is asked for elsewhere", () => {
    const { syncer, refs, request } = certified();
    const [first, second, ...rest] = refs;
    const bytes = [first, second].map((ref) =>
      present(server.blocks.get(refKey(present(ref, "a ref"))), "stored"),
    );
    syncer.blocksFetched(request, bytes, 2);
    expect(syncer.block(present(first, "a ref"))?.round).toBe(first?.round);
    const again = syncer.tick(0, 2).blocks.flatMap((each) => each.refs.map(refKey));
    expect(again).toEqual(rest.map(refKey));
  });

  test("that were not asked for, or were changed, are refused, and the others kept", () => {
    const { syncer, refs, request } = certified();
    const [first, second] = refs.map((ref) => present(server.blocks.get(refKey(ref)), "stored"));
    const changed = Uint8Array.from(present(second, "bytes"));
    changed[8] = (changed[8] ?? 0) ^ 1; // the round
    expect(() => {
      syncer.blocksFetched(request, [present(first, "bytes"), changed], 2);
    }).toThrow("NOT_ASKED_FOR");
    expect(syncer.block(present(refs[0], "a ref"))).toBeDefined();
    expect(syncer.tick(0, 3).blocks.flatMap((each) => each.refs.map(refKey))).toContain(
      refKey(present(refs[1], "a ref")),
    );
  });
});

describe("certificates", () => {
  test("exist once one voter must be honest, with one header an author, and prove only their own commit", () => {
    const index = new CertifierIndex(loop.committee);
    const commit = present(server.commits[4], "a commit");
    const voters = [...server.blocks.values()]
      .map((bytes) => new Block(bytes, VOTES_MAX))
      .filter((block) => block.commitVotes.some((vote) => vote.index === commit.index));
    expect(voters.length).toBe(4); // everybody votes once for every commit
    index.add(present(voters[0], "a block"));
    expect(index.certifiersOf(commit)).toBeUndefined();
    index.add(present(voters[0], "a block")); // again
    expect(index.certifiersOf(commit)).toBeUndefined();
    index.add(present(voters[1], "a block"));
    index.add(present(voters[2], "a block"));
    expect(index.certifiersOf(commit)?.length).toBe(2);
    expect(index.certifiersOf({ ...commit, digest: new Uint8Array(32) })).toBeUndefined();
    expect(isCertified(commit, voters, loop.committee)).toBe(true);
    expect(isCertified({ ...commit, index: 6 }, voters, loop.committee)).toBe(false);
    index.forgetBelow(commit.index + 1);
    expect(index.certifiersOf(commit)).toBeUndefined();
  });

  test("the known commit is the highest that an honest validator has reached, whatever the faulty claim", () => {
    const progress = new CommitProgress(loop.committee);
    const claim = (author: number, index: number): void => {
      const block = [...server.blocks.values()]
        .map((bytes) => new Block(bytes, VOTES_MAX))
        .find((each) => each.author === author);
      const header = Object.create(present(block, "a block")) as Block;
      Object.defineProperty(header, "commitVotes", {
        value: [{ index, digest: new Uint8Array(32) }],
      });
      progress.note(header);
    };
    claim(0, 1_000_000);
    expect([progress.knownIndex(), progress.isReached(1)]).toEqual([0, false]);
    claim(1, 7);
    claim(2, 5);
    expect(progress.knownIndex()).toBe(7);
    expect([progress.isReached(7), progress.isReached(8)]).toEqual([true, false]);
    claim(3, 9);
    expect(progress.knownIndex()).toBe(9);
    claim(3, 2); // an older block of D, late
    expect(progress.of(3)).toBe(9);
  });
});

/**
 * From committed leaders to one order of blocks. A leader brings in what its history holds and no leader before it
 * brought: blocks above the gc round, in the order (round, author, digest), itself last. The gc round comes from the
 * leader committed *before*, a pure function of the sequence: never from what this node happens to have seen.
 * Source: protocol part 9; guides: consensus, 2.7, 6.3, 6.5.
 */
import { assert } from "../../base/errors.ts";
import type { Milliseconds } from "../base/effects.ts";
import { compareRefs, type Digest, type Round } from "./block.ts";
import { type Commit, sealCommit } from "./commit.ts";
import type { Committee } from "./committee.ts";
import type { Vertex } from "./dag-state.ts";

export interface SubDag {
  readonly commit: Commit;
  /** The blocks of the commit, in its order. */
  readonly vertices: readonly Vertex[];
}

export class Linearizer {
  private readonly committee: Committee;
  private readonly gcDepthRounds: number;
  private last: Commit | undefined;

  /** @param gcDepthRounds Infinity collects nothing */
  constructor(committee: Committee, gcDepthRounds: number) {
    this.committee = committee;
    this.gcDepthRounds = gcDepthRounds;
  }

  get lastCommit(): Commit | undefined {
    return this.last;
  }

  /** 0 before the first. */
  get lastIndex(): number {
    return this.last?.index ?? 0;
  }

  get lastDigest(): Digest {
    return this.last?.digest ?? this.committee.genesisDigest;
  }

  /** Blocks up to and with this round will never be ordered, if they are not yet. */
  get gcRound(): Round {
    return this.last === undefined ? 0 : Math.max(0, this.last.leader.round - this.gcDepthRounds);
  }

  /** The next commit. Marks its blocks as committed. */
  commit(leader: Vertex): SubDag {
    const vertices = this.collect(leader);
    const { round, author, digest } = leader;
    const commit = sealCommit({
      index: this.lastIndex + 1,
      previousDigest: this.lastDigest,
      leader: { round, author, digest },
      blocks: vertices.map((vertex) => ({
        round: vertex.round,
        author: vertex.author,
        digest: vertex.digest,
      })),
      timestampMs: this.timestamp(leader),
    });
    this.last = commit;
    return { commit, vertices };
  }

  /** Take over a commit that was decided elsewhere or before: certified by a quorum, or from our log. */
  resume(commit: Commit): void {
    assert(commit.index === this.lastIndex + 1, "commits follow one another");
    this.last = commit;
  }

  /** Start behind this commit: its predecessors are not looked at. */
  resumeAt(commit: Commit): void {
    this.last = commit;
  }

  private collect(leader: Vertex): readonly Vertex[] {
    assert(!leader.isCommitted, "a leader is committed once");
    const { gcRound } = this;
    leader.isCommitted = true;
    const found = [leader];
    const open = [leader];
    for (let vertex = open.pop(); vertex !== undefined; vertex = open.pop()) {
      for (const parent of vertex.parents) {
        if (parent.isCommitted || parent.round <= gcRound) continue;
        parent.isCommitted = true;
        found.push(parent);
        open.push(parent);
      }
    }
    return found.sort(compareRefs);
  }

  /** Never below the commit before; else the median, by stake, of what the leader's parents say. */
  private timestamp(leader: Vertex): Milliseconds {
    const parents = leader.parents.filter(({ round }) => round === leader.round - 1);
    const before = this.last?.timestampMs ?? this.committee.genesisTimestampMs;
    return Math.max(before, medianTimestamp(parents, this.committee));
  }
}

/** The smallest timestamp t such that blocks with timestamps up to t have half of the stake of all. 0 of none. */
export function medianTimestamp(blocks: readonly Vertex[], committee: Committee): Milliseconds {
  const ascending = [...blocks].sort((a, b) => a.timestampMs - b.timestampMs);
  const total = ascending.reduce((sum, { author }) => sum + committee.stake(author), 0);
  let stake = 0;
  for (const { author, timestampMs } of ascending) {
    stake += committee.stake(author);
    if (2 * stake >= total) return timestampMs;
  }
  return 0;
}

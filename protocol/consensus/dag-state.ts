/**
 * The blocks accepted so far, as a graph: every block comes after all that it refers to. A reference is looked up once,
 * when its block is accepted; from then on it is a pointer. Looking up costs no hashing and no string: round, then
 * author, then the digests of the one block (or the few twins) that stand there.
 */
import { assert } from "../../base/errors.ts";
import { equalBytes } from "../base/bytes.ts";
import type { Milliseconds } from "../base/effects.ts";
import {
  type AncestorList,
  type AuthorityIndex,
  type BlockRef,
  type Digest,
  digestWords,
  type DigestWords,
  type Round,
} from "./block.ts";
import type { VerifiedBlock } from "./block-verifier.ts";
import type { Committee } from "./committee.ts";

/** What the graph needs to know of a block. */
export interface VertexSource extends BlockRef {
  readonly timestampMs: Milliseconds;
}

/** An accepted block in the graph. */
export class Vertex implements BlockRef {
  readonly round: Round;
  readonly author: AuthorityIndex;
  readonly digest: Digest;
  readonly words: DigestWords;
  readonly timestampMs: Milliseconds;
  /** In the block's own order. Those at or below the gc round may be missing: nothing asks for them any more. */
  parents: readonly Vertex[];
  /** Brought into the order by some commit. */
  isCommitted = false;
  /** The block itself, until it is committed and handed out: a payload is large and the order needs it once. */
  block: VerifiedBlock | undefined;
  /** Notes of the base committer: functions of the history, which never changes. */
  supports: (Vertex | null)[] = [];
  certifies: (readonly Vertex[])[] = [];

  constructor(source: VertexSource, parents: readonly Vertex[], block?: VerifiedBlock) {
    this.round = source.round;
    this.author = source.author;
    this.digest = source.digest;
    this.words = digestWords(source.digest);
    this.timestampMs = source.timestampMs;
    this.parents = parents;
    this.block = block;
  }
}

interface RoundOfVertices {
  readonly all: Vertex[];
  /** Of the distinct authors. */
  stake: number;
  /** By author; twins together. */
  readonly byAuthor: (Vertex[] | undefined)[];
}

const NONE: readonly Vertex[] = [];
/** Of vertices that are forgotten; frozen, since nobody asks about them any more. */
const NO_NOTES: never[] = [];
Object.freeze(NO_NOTES);

export class DagState {
  private readonly committee: Committee;
  private readonly rounds = new Map<Round, RoundOfVertices>();
  private readonly latestByAuthor: (Vertex | undefined)[];
  private highest = 0;
  /** Rounds up to here are forgotten. Genesis stays until the first is. */
  private evicted = -1;

  constructor(committee: Committee) {
    this.committee = committee;
    this.latestByAuthor = new Array<Vertex | undefined>(committee.size).fill(undefined);
    const timestampMs = committee.genesisTimestampMs;
    for (const ref of committee.genesis) this.add({ ...ref, timestampMs }, NONE).isCommitted = true;
  }

  get highestRound(): Round {
    return this.highest;
  }

  /** A new block. @param parents those of its ancestors that are here, in its order */
  add(source: VertexSource, parents: readonly Vertex[], block?: VerifiedBlock): Vertex {
    const vertex = new Vertex(source, parents, block);
    const { round, author } = vertex;
    assert(round > this.evicted, `a block of round ${round}, which is forgotten`);
    const here = this.roundOf(round);
    const twins = here.byAuthor[author];
    if (twins === undefined) {
      here.byAuthor[author] = [vertex];
      here.stake += this.committee.stake(author);
    } else {
      twins.push(vertex);
    }
    here.all.push(vertex);
    if (round > this.highest) this.highest = round;
    if (round > (this.latestByAuthor[author]?.round ?? -1)) this.latestByAuthor[author] = vertex;
    return vertex;
  }

  /** All blocks of a round, in the order of their arrival: never commit anything in it. */
  at(round: Round): readonly Vertex[] {
    return this.rounds.get(round)?.all ?? NONE;
  }

  /** The blocks of one author in a round: one, or twins. */
  blocksOf(round: Round, author: AuthorityIndex): readonly Vertex[] {
    return this.rounds.get(round)?.byAuthor[author] ?? NONE;
  }

  find(ref: BlockRef): Vertex | undefined {
    for (const vertex of this.blocksOf(ref.round, ref.author)) {
      if (equalBytes(vertex.digest, ref.digest)) return vertex;
    }
    return undefined;
  }

  /**
   * Those of a block's ancestors that are here, in its order.
   * @param presentUpTo ancestors up to this round may be missing  @returns undefined if another one is missing
   */
  parentsOf(ancestors: AncestorList, presentUpTo: Round): readonly Vertex[] | undefined {
    const parents: Vertex[] = [];
    let round = -1;
    let here: RoundOfVertices | undefined;
    for (let i = 0; i < ancestors.count; i++) {
      // Nearly all are of one round: it is looked up once.
      if (ancestors.round(i) !== round) {
        round = ancestors.round(i);
        here = this.rounds.get(round);
      }
      const parent = withDigest(here?.byAuthor[ancestors.author(i)], ancestors, i);
      if (parent !== undefined) parents.push(parent);
      else if (round > presentUpTo) return undefined;
    }
    return parents;
  }

  hasAncestor(ancestors: AncestorList, i: number): boolean {
    const here = this.rounds.get(ancestors.round(i));
    return withDigest(here?.byAuthor[ancestors.author(i)], ancestors, i) !== undefined;
  }

  /** Stake of the authors that have a block in a round. */
  stakeAt(round: Round): number {
    return this.rounds.get(round)?.stake ?? 0;
  }

  /** The author's block of the highest round; of twins the one that came first. */
  latest(author: AuthorityIndex): Vertex | undefined {
    return this.latestByAuthor[author];
  }

  /** The author's highest block that is not above `round`, looking down to and without `above`. */
  latestUpTo(author: AuthorityIndex, round: Round, above: Round): Vertex | undefined {
    const latest = this.latestByAuthor[author];
    if (latest === undefined || latest.round <= round) {
      return latest !== undefined && latest.round > above ? latest : undefined;
    }
    for (let r = round; r > above; r--) {
      const vertex = this.blocksOf(r, author)[0];
      if (vertex !== undefined) return vertex;
    }
    return undefined;
  }

  /** Forget all rounds up to `round`; genesis only with a round after it. What stays no longer holds on to them. */
  evict(round: Round): void {
    if (round < 1) return;
    for (let r = this.evicted + 1; r <= round; r++) {
      for (const vertex of this.at(r)) {
        vertex.parents = NONE; // or the chain of parents would keep every block since genesis
        vertex.block = undefined;
        vertex.supports = NO_NOTES;
        vertex.certifies = NO_NOTES;
      }
      this.rounds.delete(r);
    }
    this.evicted = Math.max(this.evicted, round);
    this.latestByAuthor.forEach((vertex, author) => {
      if (vertex !== undefined && vertex.round <= round) this.latestByAuthor[author] = undefined;
    });
  }

  private roundOf(round: Round): RoundOfVertices {
    const known = this.rounds.get(round);
    if (known !== undefined) return known;
    const made: RoundOfVertices = { all: [], stake: 0, byAuthor: [] };
    this.rounds.set(round, made);
    return made;
  }
}

/** The block, among twins, to which the i-th reference points. */
function withDigest(
  twins: readonly Vertex[] | undefined,
  ancestors: AncestorList,
  i: number,
): Vertex | undefined {
  if (twins === undefined) return undefined;
  for (const twin of twins) if (ancestors.hasDigest(i, twin.words)) return twin;
  return undefined;
}

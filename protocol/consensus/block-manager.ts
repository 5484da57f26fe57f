/**
 * Lets a block into the DAG only after all that it refers to. A block whose ancestors are not here is *suspended*; the
 * ancestors that nobody has sent yet are *wanted*. Everything is bounded, by author: who floods us fills only its own
 * share, and of that the farthest future goes first. Source: guides: consensus, 3.3; shared cases, "blockManager".
 */
import { present } from "../../base/errors.ts";
import type { ConsensusParameters } from "../base/parameters.ts";
import { type AuthorityIndex, type BlockRef, compareRefs, refKey, type Round } from "./block.ts";
import type { VerifiedBlock } from "./block-verifier.ts";
import type { DagState, Vertex } from "./dag-state.ts";

interface Suspended {
  readonly key: string;
  readonly block: VerifiedBlock;
  /** Ancestors that are not in the DAG, by key. */
  readonly missing: Set<string>;
}

/** An ancestor that is not in the DAG, and the blocks that wait for it. */
interface Awaited {
  readonly ref: BlockRef;
  readonly waiting: Set<Suspended>;
}

/** What one author's suspended blocks take. */
interface Share {
  readonly blocks: Set<Suspended>;
  sizeBytes: number;
}

export interface Acceptance {
  /** What entered the DAG, each after its ancestors; released blocks too. */
  readonly accepted: readonly Vertex[];
  /** Ancestors of the given blocks that are neither in the DAG nor suspended. */
  readonly missing: readonly BlockRef[];
}

type Limits = Pick<
  ConsensusParameters,
  "suspendedPerAuthorMax" | "suspendedBytesPerAuthorMax" | "twinsPerSlotMax"
>;

export class BlockManager {
  private readonly dag: DagState;
  private readonly limits: Limits;
  private readonly suspended = new Map<string, Suspended>();
  private readonly awaited = new Map<string, Awaited>();
  private readonly wantedRefs = new Map<string, BlockRef>();
  private readonly byAuthor = new Map<AuthorityIndex, Share>();
  private collectedRound: Round = 0;

  constructor(dag: DagState, limits: Limits) {
    this.dag = dag;
    this.limits = limits;
  }

  get gcRound(): Round {
    return this.collectedRound;
  }

  get suspendedCount(): number {
    return this.suspended.size;
  }

  /** What should be fetched, by key, in the order in which it was missed. */
  get wanted(): ReadonlyMap<string, BlockRef> {
    return this.wantedRefs;
  }

  suspendedBlock(ref: BlockRef): VerifiedBlock | undefined {
    return this.suspended.size === 0 ? undefined : this.suspended.get(refKey(ref))?.block;
  }

  suspendedRefs(): readonly BlockRef[] {
    return [...this.suspended.values()].map(({ block }) => block.ref);
  }

  /** Blocks in any order. Known ones, those at or below the gc round and idle twins are passed over. */
  accept(blocks: readonly VerifiedBlock[]): Acceptance {
    return this.take(blocks, { keepsIdleTwins: false });
  }

  /** A block from our own log. A twin among many may look idle there: whoever refers to it comes behind it. */
  restore(block: VerifiedBlock): readonly Vertex[] {
    return this.take([block], { keepsIdleTwins: true }).accepted;
  }

  private take(
    blocks: readonly VerifiedBlock[],
    { keepsIdleTwins }: { readonly keepsIdleTwins: boolean },
  ): Acceptance {
    const accepted: Vertex[] = [];
    const missing = new Map<string, BlockRef>();
    for (const block of byRound(blocks)) {
      if (block.round <= this.collectedRound || this.dag.find(block) !== undefined) continue;
      const key = this.isIdle ? "" : refKey(block); // a string is made only when somebody waits
      if (this.suspended.has(key)) continue;
      if (!keepsIdleTwins && this.isIdleTwin(block, key)) continue;
      this.wantedRefs.delete(key);
      const parents = this.parentsOf(block);
      if (parents !== undefined) this.enter(block, parents, accepted);
      else this.suspend(block, missing);
    }
    return { accepted, missing: [...missing.values()] };
  }

  /** Blocks that a certified commit names: what they refer to is ordered already or never will be. */
  acceptCommitted(blocks: readonly VerifiedBlock[]): readonly Vertex[] {
    const accepted: Vertex[] = [];
    for (const block of byRound(blocks)) {
      if (this.dag.find(block) !== undefined) continue;
      const key = refKey(block);
      const suspended = this.suspended.get(key);
      if (suspended !== undefined) this.forget(suspended);
      this.wantedRefs.delete(key);
      const parents = present(this.dag.parentsOf(block.ancestors, Infinity), "all may be missing");
      this.enter(block, parents, accepted);
    }
    return accepted;
  }

  /** Those of the refs that are neither in the DAG nor suspended; they become wanted. */
  find(refs: readonly BlockRef[]): readonly BlockRef[] {
    return refs.filter((ref) => {
      if (ref.round <= this.collectedRound || this.dag.find(ref) !== undefined) return false;
      const key = refKey(ref);
      if (this.suspended.has(key)) return false;
      this.wantedRefs.set(key, ref);
      return true;
    });
  }

  /** Raise the gc round: what is at or below it counts as present. @returns what that let into the DAG */
  collect(gcRound: Round): readonly Vertex[] {
    this.collectedRound = Math.max(this.collectedRound, gcRound);
    if (this.isIdle) return [];
    for (const suspended of this.suspended.values()) {
      if (suspended.block.round <= gcRound) this.forget(suspended);
    }
    for (const [key, ref] of this.wantedRefs) if (ref.round <= gcRound) this.wantedRefs.delete(key);
    const accepted: Vertex[] = [];
    const collected = [...this.awaited].filter(([, { ref }]) => ref.round <= gcRound);
    for (const [key] of collected) this.release(key, accepted);
    return accepted;
  }

  private get isIdle(): boolean {
    return this.suspended.size === 0 && this.awaited.size === 0 && this.wantedRefs.size === 0;
  }

  /** A third block of a slot that nobody refers to: two are proof enough, and more are only a burden. */
  private isIdleTwin(block: VerifiedBlock, key: string): boolean {
    const twins = this.dag.blocksOf(block.round, block.author).length;
    return (
      twins >= this.limits.twinsPerSlotMax && !this.awaited.has(key) && !this.wantedRefs.has(key)
    );
  }

  private parentsOf({ ancestors }: VerifiedBlock): readonly Vertex[] | undefined {
    return this.dag.parentsOf(ancestors, this.presentUpTo);
  }

  /** Ancestors up to here count as present. Before anything is collected none does: genesis itself must be there. */
  private get presentUpTo(): Round {
    return this.collectedRound > 0 ? this.collectedRound : -1;
  }

  private enter(block: VerifiedBlock, parents: readonly Vertex[], accepted: Vertex[]): void {
    accepted.push(this.dag.add(block, parents, block));
    if (this.awaited.size > 0) this.release(refKey(block), accepted);
  }

  /** `key` is here: let in those that waited for nothing else, and those that waited for them. */
  private release(key: string, accepted: Vertex[]): void {
    const open = [key];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const waiting = this.awaited.get(next)?.waiting ?? [];
      this.awaited.delete(next);
      for (const suspended of waiting) {
        suspended.missing.delete(next);
        if (suspended.missing.size > 0) continue;
        this.forget(suspended);
        const parents = present(this.parentsOf(suspended.block), "nothing is missing any more");
        accepted.push(this.dag.add(suspended.block, parents, suspended.block));
        open.push(suspended.key);
      }
    }
  }

  private suspend(block: VerifiedBlock, missing: Map<string, BlockRef>): void {
    if (!this.makeRoom(block)) return;
    const suspended: Suspended = { key: refKey(block), block, missing: new Set() };
    this.wantedRefs.delete(suspended.key);
    const { ancestors } = block;
    for (let i = 0; i < ancestors.count; i++) {
      if (ancestors.round(i) <= this.presentUpTo || this.dag.hasAncestor(ancestors, i)) continue;
      const ref = ancestors.ref(i);
      const key = refKey(ref);
      suspended.missing.add(key);
      const awaited = this.awaited.get(key);
      if (awaited === undefined) this.awaited.set(key, { ref, waiting: new Set([suspended]) });
      else awaited.waiting.add(suspended);
      if (this.suspended.has(key)) continue;
      this.wantedRefs.set(key, ref);
      missing.set(key, ref);
    }
    this.suspended.set(suspended.key, suspended);
    const share = this.shareOf(block.author);
    share.blocks.add(suspended);
    share.sizeBytes += block.bytes.length;
  }

  /** Push out the author's farthest blocks until there is room. @returns false if the block itself is the farthest */
  private makeRoom(block: VerifiedBlock): boolean {
    const share = this.shareOf(block.author);
    const { suspendedPerAuthorMax, suspendedBytesPerAuthorMax } = this.limits;
    while (
      share.blocks.size >= suspendedPerAuthorMax ||
      share.sizeBytes + block.bytes.length > suspendedBytesPerAuthorMax
    ) {
      let farthest: Suspended | undefined;
      for (const each of share.blocks) {
        if (farthest === undefined || each.block.round > farthest.block.round) farthest = each;
      }
      if (farthest === undefined || farthest.block.round <= block.round) return false;
      this.forget(farthest);
      // Others may wait for it: then it has to be fetched again, some day.
      const awaited = this.awaited.get(farthest.key);
      if (awaited !== undefined) this.wantedRefs.set(farthest.key, awaited.ref);
    }
    return true;
  }

  private shareOf(author: AuthorityIndex): Share {
    const known = this.byAuthor.get(author);
    if (known !== undefined) return known;
    const made = { blocks: new Set<Suspended>(), sizeBytes: 0 };
    this.byAuthor.set(author, made);
    return made;
  }

  /** It no longer waits; what only it waited for is no longer wanted. */
  private forget(suspended: Suspended): void {
    this.suspended.delete(suspended.key);
    const share = this.shareOf(suspended.block.author);
    share.blocks.delete(suspended);
    share.sizeBytes -= suspended.block.bytes.length;
    for (const key of suspended.missing) {
      const awaited = this.awaited.get(key);
      awaited?.waiting.delete(suspended);
      if (awaited?.waiting.size !== 0) continue;
      this.awaited.delete(key);
      this.wantedRefs.delete(key);
    }
  }
}

function byRound(blocks: readonly VerifiedBlock[]): readonly VerifiedBlock[] {
  return blocks.length < 2 ? blocks : [...blocks].sort(compareRefs);
}

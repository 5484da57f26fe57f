/**
 * The commit rules of Mysticeti a second time, word for word from their definitions and with nothing in common with
 * protocol/: sets of names, no caches, every question asked anew. Slow, and short enough to be checked by eye.
 * Source: arXiv 2310.14821, Section 3; the `schema` of the shared cases.
 */

export interface HandBlock {
  readonly id: string;
  readonly author: number;
  readonly round: number;
  readonly parents: readonly string[];
}

export interface HandRules {
  readonly stakes: readonly number[];
  readonly waveLength: number;
  readonly pipeline: boolean;
  /** Owners of the slots of each leader round, by offset. */
  readonly leaders: (round: number) => readonly number[];
}

interface HandSlot {
  readonly round: number;
  readonly leader: number;
}

/** "skip direct", "commit B3 indirect" … */
type Verdict =
  | { readonly kind: "undecided" }
  | { readonly kind: "skip"; readonly by: string }
  | { readonly kind: "commit"; readonly by: string; readonly block: HandBlock };

export class MysticetiByHand {
  private readonly blocks: readonly HandBlock[];
  private readonly byId: ReadonlyMap<string, HandBlock>;
  private readonly rules: HandRules;

  constructor(blocks: readonly HandBlock[], rules: HandRules) {
    this.blocks = blocks;
    this.byId = new Map(blocks.map((block) => [block.id, block]));
    this.rules = rules;
  }

  /** The decided slots from the start, up to the first undecided one: "3:0 commit D3 direct". */
  sequence(): readonly string[] {
    const lines: string[] = [];
    for (let round = 1; ; round++) {
      if (!this.isLeaderRound(round)) continue;
      for (const [offset, leader] of this.rules.leaders(round).entries()) {
        const verdict = this.decide({ round, leader });
        if (verdict.kind === "undecided") return lines;
        const block = verdict.kind === "commit" ? `${verdict.block.id} ` : "";
        lines.push(`${round}:${offset} ${verdict.kind} ${block}${verdict.by}`);
      }
    }
  }

  private decide(slot: HandSlot): Verdict {
    if (slot.round > this.highestRound - 2) return { kind: "undecided" };
    const direct = this.decideDirectly(slot);
    if (direct.kind !== "undecided") return direct;
    const anchor = this.anchorOf(slot);
    if (anchor === undefined) return { kind: "undecided" };
    const past = this.history(anchor);
    const certified = this.candidates(slot).filter((block) =>
      past.some((each) => this.isCertificate(each, block, slot)),
    );
    const [block, second] = certified;
    if (second !== undefined) return { kind: "undecided" }; // more than a third is faulty
    return block === undefined
      ? { kind: "skip", by: "indirect" }
      : { kind: "commit", by: "indirect", block };
  }

  private decideDirectly(slot: HandSlot): Verdict {
    const candidates = this.candidates(slot);
    const voters = this.blocks.filter(({ round }) => round === slot.round + 1);
    const isBlamed = (candidate: HandBlock | undefined): boolean =>
      this.isQuorum(
        voters.filter((voter) => candidate === undefined || this.vote(voter, slot) !== candidate),
      );
    const skips = candidates.length === 0 ? isBlamed(undefined) : candidates.every(isBlamed);
    if (skips) return { kind: "skip", by: "direct" };
    const certified = candidates.filter((candidate) =>
      this.isQuorum(this.blocks.filter((each) => this.isCertificate(each, candidate, slot))),
    );
    const [block, second] = certified;
    return block === undefined || second !== undefined
      ? { kind: "undecided" }
      : { kind: "commit", by: "direct", block };
  }

  /** The first slot, a wave or more later, that is not skipped: its block if it is committed. */
  private anchorOf({ round }: HandSlot): HandBlock | undefined {
    for (let r = round + this.rules.waveLength; r <= this.highestRound; r++) {
      if (!this.isLeaderRound(r)) continue;
      for (const leader of this.rules.leaders(r)) {
        const verdict = this.decide({ round: r, leader });
        if (verdict.kind === "commit") return verdict.block;
        if (verdict.kind === "undecided") return undefined;
      }
    }
    return undefined;
  }

  /** Of the slot's blocks the one that a depth-first walk of the parents, in their order, meets first. */
  private vote(voter: HandBlock, slot: HandSlot): HandBlock | undefined {
    for (const parent of this.parents(voter)) {
      if (parent.round === slot.round && parent.author === slot.leader) return parent;
      const met = parent.round > slot.round ? this.vote(parent, slot) : undefined;
      if (met !== undefined) return met;
    }
    return undefined;
  }

  private isCertificate(block: HandBlock, candidate: HandBlock, slot: HandSlot): boolean {
    if (block.round !== slot.round + this.rules.waveLength - 1) return false;
    return this.isQuorum(
      this.parents(block).filter(
        (parent) => parent.round > slot.round && this.vote(parent, slot) === candidate,
      ),
    );
  }

  private candidates({ round, leader }: HandSlot): readonly HandBlock[] {
    return this.blocks.filter((block) => block.round === round && block.author === leader);
  }

  /** Genesis is not listed: nothing is asked of it. */
  private parents(block: HandBlock): readonly HandBlock[] {
    return block.parents.flatMap((id) => this.byId.get(id) ?? []);
  }

  private history(block: HandBlock): readonly HandBlock[] {
    const past = new Set<HandBlock>();
    const visit = (each: HandBlock): void => {
      for (const parent of this.parents(each)) {
        if (past.has(parent)) continue;
        past.add(parent);
        visit(parent);
      }
    };
    visit(block);
    return [...past];
  }

  /** By the stake of distinct authors. */
  private isQuorum(blocks: readonly HandBlock[]): boolean {
    const { stakes } = this.rules;
    const sum = (authors: readonly number[]): number =>
      authors.reduce((total, author) => total + (stakes[author] ?? 0), 0);
    const total = sum([...stakes.keys()]);
    const authors = [...new Set(blocks.map(({ author }) => author))];
    return sum(authors) >= total - Math.floor((total - 1) / 3);
  }

  private isLeaderRound(round: number): boolean {
    return this.rules.pipeline || round % this.rules.waveLength === 0;
  }

  private get highestRound(): number {
    return Math.max(0, ...this.blocks.map(({ round }) => round));
  }
}

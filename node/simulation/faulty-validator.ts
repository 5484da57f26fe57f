/**
 * A validator that holds a seat's key and keeps no promise. It sees what an honest one sees and makes blocks that obey
 * every rule a single block can be held to; what is wrong with it is its `Misconduct`. It decides nothing.
 */
import { present } from "../../base/errors.ts";
import { toHex } from "../../protocol/base/bytes.ts";
import { RejectedError } from "../../protocol/base/errors.ts";
import {
  type AuthorityIndex,
  type Block,
  type BlockRef,
  type CommitVote,
  EMPTY_PAYLOAD,
  encodeBlock,
  type Round,
} from "../../protocol/consensus/block.ts";
import type { BlockVerifier } from "../../protocol/consensus/block-verifier.ts";
import { type Committee, StakeAggregator } from "../../protocol/consensus/committee.ts";
import type { Signer } from "../../protocol/consensus/events.ts";
import type { LeaderSchedule } from "../../protocol/consensus/leader-schedule.ts";
import type { Rng } from "../../tokenizers/random.ts";
import type { PeerMessage } from "../network/message.ts";
import type { NetworkHandler } from "../runtime/ports.ts";
import { type EventQueue, type Micros, MS } from "./event-queue.ts";
import { GENESIS_MS } from "./seats.ts";
import type { SplitAttack, SplitRoles } from "./split-attack.ts";

/** What a faulty validator does in place of its duty. */
export interface Misconduct {
  /** A quorum of the round before is there: make blocks, or not, and send them to whom you like. */
  propose(round: Round, self: FaultyValidator): void;
  /** A peer asks. @returns false if this one is not answered */
  answers(peer: AuthorityIndex, self: FaultyValidator): boolean;
  /** Once in a while, for what has no round. */
  trouble?(self: FaultyValidator): void;
}

export interface FaultyOptions {
  readonly index: AuthorityIndex;
  readonly committee: Committee;
  readonly signer: Signer;
  readonly verifier: BlockVerifier;
  readonly schedule: LeaderSchedule;
  readonly splitAttack: SplitAttack;
  readonly queue: EventQueue;
  readonly rng: Rng;
  readonly send: (peer: AuthorityIndex, message: PeerMessage) => void;
  readonly misconduct: Misconduct;
  /** Told how often it has broken its duty just now. */
  readonly onMisconduct: (times: number) => void;
}

export interface BlockWish {
  /** Authors not to refer to, as far as the rules allow. */
  readonly avoid?: ReadonlySet<AuthorityIndex>;
  readonly commitVotes?: readonly CommitVote[];
  /** Which of its own blocks before to build on: the first or the last; else any. */
  readonly own?: "first" | "last";
  /** Makes a twin differ. */
  readonly timestampShiftMs?: number;
}

/** Rounds that it remembers. */
const ROUNDS_KEPT = 100;
/** As honest ones, it leaves some time between its blocks. */
const PACE: Micros = 50 * MS;
const TROUBLE_EVERY: Micros = 200 * MS;

export class FaultyValidator implements NetworkHandler {
  readonly index: AuthorityIndex;
  readonly committee: Committee;
  readonly rng: Rng;
  readonly peers: readonly AuthorityIndex[];
  private readonly options: FaultyOptions;
  private readonly quorum: StakeAggregator;
  private readonly connectedPeers = new Set<AuthorityIndex>();
  /** By round and author: one block, or twins. */
  private readonly view = new Map<Round, Map<AuthorityIndex, Block[]>>();
  private readonly known = new Map<string, Block>();
  private highestQuorum: Round = 0;
  private proposedRound: Round = 0;
  private proposedAt: Micros = -PACE;
  /** Its blocks of the last round that it has made any for, and of the one before. */
  private lastOwn: BlockRef[];
  private ownBefore: readonly BlockRef[] = [];

  constructor(options: FaultyOptions) {
    this.options = options;
    this.index = options.index;
    this.committee = options.committee;
    this.rng = options.rng;
    this.quorum = new StakeAggregator(options.committee);
    this.peers = Array.from({ length: options.committee.size }, (_, i) => i).filter(
      (i) => i !== options.index,
    );
    this.lastOwn = [present(options.committee.genesis[options.index], "it has a seat")];
  }

  start(): void {
    this.proposeSoon();
    if (this.options.misconduct.trouble !== undefined) this.makeTrouble();
  }

  // ---- what happens ----

  connected(peer: AuthorityIndex): void {
    this.connectedPeers.add(peer);
    this.options.send(peer, { kind: "subscribe", aboveRound: 0 });
  }

  disconnected(peer: AuthorityIndex): void {
    this.connectedPeers.delete(peer);
  }

  writable(): void {
    // What was refused is not missed.
  }

  misbehaved(): void {
    // Who is it to complain.
  }

  received(from: AuthorityIndex, message: PeerMessage): void {
    switch (message.kind) {
      case "blocks":
      case "fetchedBlocks":
        for (const bytes of message.blocks) this.take(bytes, from);
        return;
      case "fetchBlocks": {
        if (!this.options.misconduct.answers(from, this)) return;
        const blocks = message.refs.flatMap((ref) => {
          const block = this.known.get(toHex(ref.digest));
          return block === undefined ? [] : [block.bytes];
        });
        this.options.send(from, { kind: "fetchedBlocks", request: message.request, blocks });
        return;
      }
      case "askOwnBlock": {
        if (!this.options.misconduct.answers(from, this)) return;
        this.options.send(from, { kind: "ownBlock", block: undefined }); // a lie, mostly
        return;
      }
      case "subscribe":
      case "fetchCommits":
      case "fetchedCommits":
      case "ownBlock":
        return;
    }
  }

  // ---- for misconduct ----

  get now(): Micros {
    return this.options.queue.now;
  }

  after(delay: Micros, action: () => void): void {
    this.options.queue.after(delay, action);
  }

  /** It has broken its duty so many times. */
  confess(times = 1): void {
    this.options.onMisconduct(times);
  }

  leads(round: Round): boolean {
    return this.leadersOf(round).includes(this.index);
  }

  leadersOf(round: Round): readonly AuthorityIndex[] {
    return round < 1 ? [] : this.options.schedule.leaders(round);
  }

  /** Of the attack of that name. */
  splitRoles(round: Round): SplitRoles {
    return this.options.splitAttack.roles(round);
  }

  send(peer: AuthorityIndex, message: PeerMessage): void {
    this.options.send(peer, message);
  }

  sendBlock(peers: readonly AuthorityIndex[], block: Block): void {
    for (const peer of peers) this.send(peer, { kind: "blocks", blocks: [block.bytes] });
  }

  /** Some block that it knows, by anyone; undefined if there is none. */
  anyBlock(): Block | undefined {
    const here = [...(this.view.get(this.highestQuorum)?.values() ?? [])].flat();
    return here[this.rng.uniform(Math.max(1, here.length))];
  }

  /** A valid block of this round, which it keeps; undefined if the rules cannot be met. */
  makeBlock(round: Round, wish: BlockWish = {}): Block | undefined {
    if ((this.lastOwn[0]?.round ?? 0) > round) return undefined; // it has gone on meanwhile
    const { avoid, own } = wish;
    const ancestors =
      this.ancestorsOf(round, avoid, own) ?? this.ancestorsOf(round, undefined, own);
    if (ancestors === undefined) return undefined;
    const { options } = this;
    const bytes = encodeBlock(
      {
        epoch: this.committee.epoch,
        round,
        author: this.index,
        timestampMs: GENESIS_MS + Math.floor(this.now / MS) + (wish.timestampShiftMs ?? 0),
        ancestors,
        commitVotes: wish.commitVotes ?? [],
      },
      [EMPTY_PAYLOAD],
      (digest) => options.signer.sign(digest),
    );
    const block = options.verifier.read(bytes);
    if (this.lastOwn[0]?.round === round) this.lastOwn.push(block.ref);
    else [this.ownBefore, this.lastOwn] = [this.lastOwn, [block.ref]];
    this.keep(block);
    return block;
  }

  /** Whether it knows a block of this round by each of these. */
  knows(round: Round, authors: readonly AuthorityIndex[]): boolean {
    const here = this.view.get(round);
    return authors.every((author) => author === this.index || here?.has(author) === true);
  }

  /** Whether the rules can be met without these authors' blocks, by now. */
  canAvoid(round: Round, avoid: ReadonlySet<AuthorityIndex>): boolean {
    return this.ancestorsOf(round, avoid) !== undefined;
  }

  // ---- its view ----

  private take(bytes: Uint8Array, from: AuthorityIndex): void {
    const { verifier } = this.options;
    try {
      const block = verifier.read(bytes);
      if (this.known.has(toHex(block.digest)) || block.author === this.index) return;
      this.keep(verifier.verify(block));
    } catch (error) {
      if (!(error instanceof RejectedError)) throw error;
      this.disconnected(from); // another faulty one
    }
  }

  private keep(block: Block): void {
    const { round, author } = block;
    this.known.set(toHex(block.digest), block);
    const here = this.view.get(round) ?? new Map<AuthorityIndex, Block[]>();
    this.view.set(round, here);
    const twins = here.get(author);
    if (twins === undefined) here.set(author, [block]);
    else twins.push(block);
    if (round <= this.highestQuorum) return;
    this.quorum.clear();
    for (const each of here.keys()) this.quorum.add(each);
    if (!this.quorum.isQuorum) return;
    this.highestQuorum = round;
    this.forget(round - ROUNDS_KEPT);
    this.proposeSoon();
  }

  private forget(upTo: Round): void {
    for (const [round, authors] of this.view) {
      if (round > upTo) continue;
      for (const block of [...authors.values()].flat()) this.known.delete(toHex(block.digest));
      this.view.delete(round);
    }
  }

  private proposeSoon(): void {
    const round = this.highestQuorum + 1;
    const wait = Math.max(0, this.proposedAt + PACE - this.now);
    this.after(wait, () => {
      if (round !== this.highestQuorum + 1 || round <= this.proposedRound) return;
      this.proposedRound = round;
      this.proposedAt = this.now;
      this.options.misconduct.propose(round, this);
    });
  }

  private makeTrouble(): void {
    this.options.misconduct.trouble?.(this);
    this.after(TROUBLE_EVERY, () => {
      this.makeTrouble();
    });
  }

  /** Own block before, then one block of each other author of the round before. */
  private ancestorsOf(
    round: Round,
    avoid: ReadonlySet<AuthorityIndex> | undefined,
    wanted?: BlockWish["own"],
  ): readonly BlockRef[] | undefined {
    const own = this.lastOwn[0]?.round === round ? this.ownBefore : this.lastOwn;
    const any = this.rng.uniform(Math.max(1, own.length));
    const first = own[wanted === "first" ? 0 : wanted === "last" ? own.length - 1 : any];
    if (first === undefined) return undefined;
    const ancestors = [first];
    this.quorum.clear();
    if (first.round === round - 1) this.quorum.add(this.index);
    for (const author of this.peers) {
      if (avoid?.has(author) === true) continue;
      const ref = this.oneOf(round - 1, author);
      if (ref === undefined) continue;
      ancestors.push(ref);
      this.quorum.add(author);
    }
    return this.quorum.isQuorum ? ancestors : undefined;
  }

  private oneOf(round: Round, author: AuthorityIndex): BlockRef | undefined {
    if (round === 0) return this.committee.genesis[author];
    const twins = this.view.get(round)?.get(author) ?? [];
    return twins[twins.length < 2 ? 0 : this.rng.uniform(twins.length)]?.ref;
  }
}

/**
 * A few cores in one loop: virtual time, seeded delays, logs in memory. The smallest world in which every effect is
 * performed as its contract says; the simulator proper is in node/simulation.
 */
import { present } from "../../base/errors.ts";
import { toHex } from "../../protocol/base/bytes.ts";
import { type ConsensusParameters, consensusParameters } from "../../protocol/base/parameters.ts";
import { Block, type BlockRef, refKey, SignedHeader } from "../../protocol/consensus/block.ts";
import type { SignatureCheck } from "../../protocol/consensus/block-verifier.ts";
import { CertifierIndex } from "../../protocol/consensus/certifiers.ts";
import { type Commit, decodeCommit, encodeCommit } from "../../protocol/consensus/commit.ts";
import { Committee } from "../../protocol/consensus/committee.ts";
import { ConsensusCore } from "../../protocol/consensus/core.ts";
import type {
  ConsensusEffect,
  ConsensusEvent,
  RecoveredRecord,
} from "../../protocol/consensus/events.ts";
import { committeeSignatures } from "../../protocol/consensus/signatures.ts";
import { Ed25519Signer } from "../../protocol/crypto/ed25519.ts";
import { seededRng } from "../../tokenizers/random.ts";

/** An event without its time: the loop knows that. */
type Untimed<T> = T extends unknown ? Omit<T, "now"> : never;

export interface LoopOptions {
  readonly size: number;
  readonly seed?: number;
  readonly stakes?: readonly number[];
  readonly parameters?: Partial<ConsensusParameters>;
  /** One way, uniform. */
  readonly delayMs?: readonly [number, number];
  /** Messages of a pair that are lost. */
  readonly isCut?: (from: number, to: number, now: number) => boolean;
  readonly checkSignature?: SignatureCheck;
  /** How far a node's clock is off. */
  readonly skewMs?: (node: number, now: number) => number;
  /** Asked before an effect is performed: true kills the node at once. */
  readonly dies?: (node: number, effect: ConsensusEffect) => boolean;
}

/** A node of the loop. */
export interface LoopNode {
  core: ConsensusCore;
  isUp: boolean;
  /** What is on disk. */
  records: RecoveredRecord[];
  highestSignedRound: number;
  blocks: Map<string, Uint8Array>;
  commits: Commit[];
  certifiers: CertifierIndex;
  /** What the application got, over all lives: commit digests by index. */
  delivered: Commit[];
  payloads: Uint8Array[];
  effects: ConsensusEffect[];
  timers: Map<string, number>;
}

interface Message {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export function loopCommittee(
  size: number,
  stakes?: readonly number[],
): { readonly committee: Committee; readonly signers: readonly Ed25519Signer[] } {
  const signers = Array.from({ length: size }, (_, i) => {
    const seed = new Uint8Array(32);
    new DataView(seed.buffer).setUint32(0, i + 1);
    return new Ed25519Signer(seed);
  });
  const committee = new Committee({
    epoch: 0,
    authorities: signers.map(({ publicKey }, i) => ({
      address: Uint8Array.from({ length: 32 }, (_, at) => (at === 31 ? i : 0)),
      publicKey,
      stake: stakes?.[i] ?? 1,
    })),
    genesisDigest: new Uint8Array(32),
    genesisTimestampMs: 0,
  });
  return { committee, signers };
}

export class ConsensusLoop {
  readonly committee: Committee;
  readonly signers: readonly Ed25519Signer[];
  readonly parameters: ConsensusParameters;
  readonly nodes: LoopNode[];
  now = 0;
  private readonly options: LoopOptions;
  private readonly checkSignature: SignatureCheck;
  private readonly messages: Message[] = [];
  private order = 0;
  private readonly rng;

  constructor(options: LoopOptions) {
    this.options = options;
    const { committee, signers } = loopCommittee(options.size, options.stakes);
    this.committee = committee;
    this.signers = signers;
    this.parameters = consensusParameters(options.parameters ?? {});
    this.checkSignature = remembered(options.checkSignature ?? committeeSignatures(committee));
    this.rng = seededRng(options.seed ?? 0, "consensus-loop");
    this.nodes = signers.map((_, i) => this.made(i));
    this.nodes.forEach((_, i) => {
      this.feed(i, { kind: "started" });
    });
  }

  /** Run until `until` ms, or until `stop` says so. */
  run(until: number, stop?: () => boolean): void {
    for (;;) {
      const next = this.pop(until);
      if (next === undefined) break;
      this.now = next.at;
      next.run();
      if (stop?.() === true) return;
    }
    this.now = until;
  }

  /** Kill a node: what was in memory is gone. */
  crash(i: number): void {
    const node = this.node(i);
    node.isUp = false;
    node.timers.clear();
  }

  /** Start it again. @param keep what of its disk is left; undefined for nothing */
  restart(i: number, keep: (old: LoopNode) => LoopNode | undefined = (old) => old): void {
    const old = this.node(i);
    const node = this.made(i, keep(old));
    // What was logged and not handed out before the crash is replayed to the application, as a driver does.
    const replayed = node.commits.filter(({ index }) => index > old.delivered.length);
    node.delivered = [...old.delivered, ...replayed];
    this.nodes[i] = node;
    this.feed(i, { kind: "started" });
  }

  submit(i: number, id: number, transactions: readonly Uint8Array[]): void {
    const frames = Buffer.concat(
      transactions.flatMap((each) => [Buffer.of(...uleb(each.length)), each]),
    );
    const batch = { id, count: transactions.length, frames: Uint8Array.from(frames) };
    this.feed(i, { kind: "transactionsSubmitted", batch });
  }

  /** Hand an event to a core and perform what follows. */
  feed(i: number, event: Untimed<ConsensusEvent>): void {
    const node = this.node(i);
    if (!node.isUp) return;
    const now = this.now + (this.options.skewMs?.(i, this.now) ?? 0);
    for (const effect of node.core.step({ ...event, now })) {
      if (this.options.dies?.(i, effect) === true) {
        this.crash(i);
        return;
      }
      node.effects.push(effect);
      this.perform(i, node, effect, now);
    }
  }

  /** The longest common order of commits: throws if two nodes differ. @returns how many all have */
  agreed(): number {
    const sequences = this.nodes.map(({ delivered }) => delivered);
    const longest = sequences.reduce((a, b) => (b.length > a.length ? b : a));
    for (const [i, sequence] of sequences.entries()) {
      sequence.forEach((commit, at) => {
        if (!Buffer.from(commit.digest).equals(longest[at]?.digest ?? new Uint8Array())) {
          throw new Error(`node ${i} has another commit ${at + 1}`);
        }
      });
    }
    return Math.min(...sequences.map(({ length }) => length));
  }

  node(i: number): LoopNode {
    return present(this.nodes[i], `no node ${i}`);
  }

  private made(i: number, disk?: LoopNode): LoopNode {
    const certifiers = new CertifierIndex(this.committee);
    const blocks = disk?.blocks ?? new Map<string, Uint8Array>();
    for (const bytes of blocks.values()) certifiers.add(new SignedHeader(bytes, 1000));
    const records = disk?.records ?? [];
    return {
      core: new ConsensusCore({
        committee: this.committee,
        ownIndex: i,
        parameters: this.parameters,
        signer: present(this.signers[i], "a signer"),
        checkSignature: this.checkSignature,
        recovered: { records, highestSignedRound: disk?.highestSignedRound ?? 0 },
      }),
      isUp: true,
      records,
      highestSignedRound: disk?.highestSignedRound ?? 0,
      blocks,
      commits: records.flatMap((each) =>
        each.kind === "commit" ? [decodeCommit(each.bytes)] : [],
      ),
      certifiers,
      delivered: [],
      payloads: [],
      effects: [],
      timers: new Map(),
    };
  }

  private perform(i: number, node: LoopNode, effect: ConsensusEffect, now: number): void {
    switch (effect.kind) {
      case "persist":
        for (const record of effect.records) {
          if (record.kind === "block") {
            node.records.push({ kind: "block", bytes: record.block.bytes });
            node.blocks.set(refKey(record.block), record.block.bytes);
            node.certifiers.add(record.block);
          } else {
            node.records.push({ kind: "commit", bytes: encodeCommit(record.commit) });
            node.commits.push(record.commit);
          }
        }
        node.highestSignedRound = effect.highestSignedRound ?? node.highestSignedRound;
        return;
      case "broadcast": {
        const blocks = [effect.block.bytes];
        for (let to = 0; to < this.options.size; to++) {
          if (to !== i)
            this.send(i, to, () => {
              this.feed(to, { kind: "blocksReceived", from: i, blocks });
            });
        }
        return;
      }
      case "fetchBlocks":
        this.send(i, effect.peer, () => {
          const blocks = this.stored(effect.peer, effect.refs);
          const { request } = effect;
          this.send(effect.peer, i, () => {
            this.feed(i, { kind: "blocksFetched", request, blocks });
          });
        });
        return;
      case "fetchCommits":
        this.send(i, effect.peer, () => {
          const { request, fromIndex, toIndex } = effect;
          const answer = this.storedCommits(effect.peer, fromIndex, toIndex);
          this.send(effect.peer, i, () => {
            this.feed(i, { kind: "commitsFetched", request, ...answer });
          });
        });
        return;
      case "askOwnBlock":
        for (let to = 0; to < this.options.size; to++) {
          if (to === i) continue;
          this.send(i, to, () => {
            const block = this.lastBlockOf(to, i);
            this.send(to, i, () => {
              this.feed(i, { kind: "ownBlockReported", from: to, block });
            });
          });
        }
        return;
      case "setTimer": {
        const { timer, at } = effect;
        const order = this.order;
        node.timers.set(timer, order);
        this.push(this.now + Math.max(0, at - now), () => {
          if (this.node(i) !== node || node.timers.get(timer) !== order) return;
          node.timers.delete(timer);
          this.feed(i, { kind: "timerFired", timer });
        });
        return;
      }
      case "commit":
        // What was delivered before a crash comes again only if the log lost it: the application drops it.
        if (effect.commit.index === node.delivered.length + 1) node.delivered.push(effect.commit);
        node.payloads.push(...effect.blocks.map(({ payload }) => payload));
        return;
      case "transactionsProposed":
      case "transactionsRefused":
      case "equivocation":
      case "misbehaved":
      case "clockAhead":
      case "epochEnded":
        return;
      case "halted":
        node.isUp = false;
        return;
    }
  }

  private stored(peer: number, refs: readonly BlockRef[]): readonly Uint8Array[] {
    return refs.flatMap((ref) => this.node(peer).blocks.get(refKey(ref)) ?? []);
  }

  private storedCommits(
    peer: number,
    from: number,
    to: number,
  ): { readonly commits: readonly Uint8Array[]; readonly certifiers: readonly Uint8Array[] } {
    const node = this.node(peer);
    for (let end = Math.min(to, node.commits.length); end >= from; end--) {
      const last = present(node.commits[end - 1], "a stored commit");
      const refs = node.certifiers.certifiersOf(last);
      if (refs === undefined) continue;
      return {
        commits: node.commits.slice(from - 1, end).map(encodeCommit),
        certifiers: this.stored(peer, refs).map((bytes) => new Block(bytes, 1000).headerBytes),
      };
    }
    return { commits: [], certifiers: [] };
  }

  private lastBlockOf(peer: number, author: number): Uint8Array | undefined {
    const own = [...this.node(peer).blocks.values()]
      .map((bytes) => new Block(bytes, 1000))
      .filter((block) => block.author === author)
      .sort((a, b) => b.round - a.round);
    return own[0]?.bytes;
  }

  private send(from: number, to: number, run: () => void): void {
    const [low, high] = this.options.delayMs ?? [1, 10];
    const at = this.now + low + this.rng.unit() * (high - low);
    if (this.options.isCut?.(from, to, this.now) === true) return;
    this.push(at, () => {
      if (this.node(from).isUp && this.node(to).isUp) run();
    });
  }

  private push(at: number, run: () => void): void {
    const message = { at, order: this.order++, run };
    this.messages.push(message);
    // A heap would be faster; sifting up by halves is enough for a loop of a few thousand messages.
    let child = this.messages.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!this.isBefore(child, parent)) break;
      this.swap(child, parent);
      child = parent;
    }
  }

  private pop(until: number): Message | undefined {
    const first = this.messages[0];
    if (first === undefined || first.at > until) return undefined;
    const last = this.messages.pop();
    if (last !== undefined && this.messages.length > 0) {
      this.messages[0] = last;
      for (let parent = 0; ;) {
        let least = parent;
        for (const child of [2 * parent + 1, 2 * parent + 2]) {
          if (child < this.messages.length && this.isBefore(child, least)) least = child;
        }
        if (least === parent) break;
        this.swap(parent, least);
        parent = least;
      }
    }
    return first;
  }

  private isBefore(i: number, j: number): boolean {
    const [a, b] = [this.messages[i], this.messages[j]];
    return (
      a !== undefined && b !== undefined && (a.at < b.at || (a.at === b.at && a.order < b.order))
    );
  }

  private swap(i: number, j: number): void {
    const [a, b] = [this.messages[i], this.messages[j]];
    if (a === undefined || b === undefined) return;
    this.messages[i] = b;
    this.messages[j] = a;
  }
}

/** All nodes of the loop ask the same questions of a pure function: each is answered once. */
function remembered(check: SignatureCheck): SignatureCheck {
  const known = new Map<string, boolean>();
  return (author, digest, signature) => {
    const key = `${author}/${toHex(digest)}/${toHex(signature)}`;
    const answer = known.get(key) ?? check(author, digest, signature);
    known.set(key, answer);
    return answer;
  };
}

function uleb(value: number): readonly number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...uleb(Math.floor(value / 128))];
}

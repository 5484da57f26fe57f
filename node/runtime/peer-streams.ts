/**
 * Our own blocks on their way to every peer. A peer that is slow, or was away, is sent what it lacks when there is room
 * again, from the blocks kept here: nothing waits twice. What is older than those it fetches like any missed block.
 * Source: guides: consensus, 3.8.
 */
import { assert } from "../../base/errors.ts";
import type { AuthorityIndex, Block, Round } from "../../protocol/consensus/block.ts";
import type { Network } from "./ports.ts";

/** Own blocks kept for peers that were away: a peer further behind is caught up by commits, not by blocks. */
export const OWN_BLOCKS_KEPT = 100;

type OwnBlock = Pick<Block, "round" | "bytes">;

export class PeerStreams {
  private readonly network: Pick<Network, "send">;
  private readonly peers: readonly AuthorityIndex[];
  /** Ascending by round. */
  private readonly recent: OwnBlock[] = [];
  /** The connected peers, and the round of the last own block that each was sent. */
  private readonly sentRounds = new Map<AuthorityIndex, Round>();

  constructor(network: Pick<Network, "send">, peers: readonly AuthorityIndex[]) {
    this.network = network;
    this.peers = peers;
  }

  private get lastRound(): Round {
    return this.recent.at(-1)?.round ?? 0;
  }

  /** A block of ours from the log: not to be sent before a peer lacks it. */
  remember(block: OwnBlock): void {
    assert(block.round > this.lastRound, `own block of round ${block.round} after a later one`);
    this.recent.push({ round: block.round, bytes: block.bytes });
    if (this.recent.length > OWN_BLOCKS_KEPT) this.recent.shift();
  }

  /** Until the peer says what it has, it is sent what is new. */
  connected(peer: AuthorityIndex): void {
    this.sentRounds.set(peer, this.lastRound);
  }

  disconnected(peer: AuthorityIndex): void {
    this.sentRounds.delete(peer);
  }

  /** The peer has our blocks up to this round. It is sent the last one in any case. */
  subscribed(peer: AuthorityIndex, aboveRound: Round): void {
    if (!this.sentRounds.has(peer)) return;
    this.sentRounds.set(peer, Math.min(aboveRound, this.lastRound - 1));
    this.sendMore(peer);
  }

  /** To everyone connected; a block that was sent before goes out again. */
  broadcast(block: OwnBlock): void {
    const isNew = block.round > this.lastRound;
    if (isNew) this.remember(block);
    for (const peer of this.peers) {
      const sentRound = this.sentRounds.get(peer);
      if (sentRound === undefined) continue;
      if (isNew) this.sendMore(peer);
      else if (sentRound >= block.round) {
        this.network.send(peer, { kind: "blocks", blocks: [block.bytes] });
      }
    }
  }

  /** There is room again for this peer. */
  sendMore(peer: AuthorityIndex): void {
    const sentRound = this.sentRounds.get(peer);
    if (sentRound === undefined) return;
    let first = this.recent.length;
    while (first > 0 && (this.recent[first - 1]?.round ?? 0) > sentRound) first--;
    for (const { round, bytes } of this.recent.slice(first)) {
      if (!this.network.send(peer, { kind: "blocks", blocks: [bytes] })) return;
      this.sentRounds.set(peer, round);
    }
  }
}

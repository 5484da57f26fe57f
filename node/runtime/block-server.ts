/**
 * Answers peers from the log. The core is not asked: what is in the log is verified, and reading it must not wait for a
 * step. A peer that asks faster than it is answered is not answered: its requests time out.
 */
import {
  ANSWER_BYTES_MAX,
  ANSWERS_PER_PEER_MAX,
  BLOCKS_PER_ANSWER_MAX,
  VOTING_BLOCKS_READ_MAX,
} from "./limits.ts";
import { toHex } from "../../protocol/base/bytes.ts";
import type { ConsensusParameters } from "../../protocol/base/parameters.ts";
import { type AuthorityIndex, SignedHeader } from "../../protocol/consensus/block.ts";
import { CertifierIndex } from "../../protocol/consensus/certifiers.ts";
import { type Commit, decodeCommit } from "../../protocol/consensus/commit.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import type { PeerMessage } from "../network/message.ts";
import type { Network, Store } from "./ports.ts";

/** Votes for a commit come in the blocks made right after it: where to look for them first, in commits before the last. */
const VOTES_NEAR_COMMITS = 10;
/** And in how many rounds of blocks. */
const VOTES_NEAR_ROUNDS = 12;

export interface BlockServerOptions {
  readonly committee: Committee;
  readonly parameters: ConsensusParameters;
  readonly store: Store;
  readonly network: Pick<Network, "send">;
}

export type PeerRequest = Extract<
  PeerMessage,
  { readonly kind: "fetchBlocks" | "fetchCommits" | "askOwnBlock" }
>;

export class BlockServer {
  private readonly options: BlockServerOptions;
  private readonly openByPeer: number[];
  /** How often each peer's connection was lost. */
  private readonly lostByPeer: number[];

  constructor(options: BlockServerOptions) {
    this.options = options;
    this.openByPeer = Array.from({ length: options.committee.size }, () => 0);
    this.lostByPeer = Array.from({ length: options.committee.size }, () => 0);
  }

  /** What it asked before is no longer answered: a peer that starts anew numbers its requests anew. */
  disconnected(peer: AuthorityIndex): void {
    this.lostByPeer[peer] = (this.lostByPeer[peer] ?? 0) + 1;
  }

  /** @param release called when the answer is sent or given up */
  answer(peer: AuthorityIndex, message: PeerRequest, release: () => void): void {
    const open = this.openByPeer[peer] ?? 0;
    if (open >= ANSWERS_PER_PEER_MAX) {
      release();
      return;
    }
    this.openByPeer[peer] = open + 1;
    const lost = this.lostByPeer[peer];
    const reply = (answer: PeerMessage): void => {
      this.openByPeer[peer] = (this.openByPeer[peer] ?? 1) - 1;
      // Where there is no room, the peer asks again.
      if (this.lostByPeer[peer] === lost) this.options.network.send(peer, answer);
      release();
    };
    this.find(peer, message, reply);
  }

  private find(
    peer: AuthorityIndex,
    message: PeerRequest,
    reply: (answer: PeerMessage) => void,
  ): void {
    const { store } = this.options;
    switch (message.kind) {
      case "fetchBlocks": {
        const { request } = message;
        const refs = message.refs.slice(0, BLOCKS_PER_ANSWER_MAX);
        store.readBlocks(refs, ANSWER_BYTES_MAX, (blocks) => {
          reply({ kind: "fetchedBlocks", request, blocks });
        });
        return;
      }
      case "fetchCommits":
        this.findCommits(message, reply);
        return;
      case "askOwnBlock":
        store.readLastBlock(peer, (block) => {
          reply({ kind: "ownBlock", block });
        });
        return;
    }
  }

  private findCommits(
    { request, fromIndex, toIndex }: Extract<PeerRequest, { readonly kind: "fetchCommits" }>,
    reply: (answer: PeerMessage) => void,
  ): void {
    const { store, parameters } = this.options;
    const lastIndex = Math.min(toIndex, fromIndex + parameters.commitsPerFetchMax - 1);
    store.readCommits(fromIndex, lastIndex, (encoded) => {
      const commits = encoded.map(decodeCommit);
      const near = Math.max(0, commits.length - VOTES_NEAR_COMMITS);
      const blockCount = VOTES_NEAR_ROUNDS * this.options.committee.size;
      this.certify(commits, { start: near, blockCount }, (count, certifiers) => {
        reply({
          kind: "fetchedCommits",
          request,
          commits: encoded.slice(0, count),
          certifiers: certifiers.map(({ headerBytes }) => headerBytes),
        });
      });
    });
  }

  /**
   * The longest start of `commits` whose last one has enough votes in the log, looked for in the blocks that follow
   * commit `start`; if there is none, in many that follow the first.
   */
  private certify(
    commits: readonly Commit[],
    { start, blockCount }: { readonly start: number; readonly blockCount: number },
    done: (count: number, certifiers: readonly SignedHeader[]) => void,
  ): void {
    const first = commits[start];
    if (first === undefined) {
      done(0, []);
      return;
    }
    this.options.store.readBlocksAfter(first.index, blockCount, (blocks) => {
      const headers = this.decode(blocks);
      const votes = new CertifierIndex(this.options.committee);
      for (const header of headers) votes.add(header);
      for (let count = commits.length; count > start; count--) {
        const commit = commits[count - 1];
        const refs = commit === undefined ? undefined : votes.certifiersOf(commit);
        if (refs === undefined) continue;
        const digests = new Set(refs.map(({ digest }) => toHex(digest)));
        const certifiers = headers.filter(({ digest }) => digests.has(toHex(digest)));
        done(count, certifiers);
        return;
      }
      const isLastTry = blockCount >= VOTING_BLOCKS_READ_MAX;
      if (isLastTry) done(0, []);
      else this.certify(commits, { start: 0, blockCount: VOTING_BLOCKS_READ_MAX }, done);
    });
  }

  private decode(blocks: readonly Uint8Array[]): readonly SignedHeader[] {
    const { blockCommitVotesMax } = this.options.parameters;
    return blocks.map((bytes) => new SignedHeader(bytes, blockCommitVotesMax));
  }
}

/**
 * What validators say to each other. A message is plain data and its bytes are never changed, so that a transport in
 * memory hands over the same object; wire.ts has its form on a socket. There is no layer of calls and answers: the core
 * names its requests, a message carries the name there and back, and whoever waits has his own timeout.
 */
import { type BlockRef, REF_BYTES, type Round } from "../../protocol/consensus/block.ts";
import type { RequestId } from "../../protocol/consensus/events.ts";

export type PeerMessage =
  /** First on every connection: send me your own blocks above this round, and go on with those that you make. */
  | { readonly kind: "subscribe"; readonly aboveRound: Round }
  /** The sender's own blocks, ascending. */
  | { readonly kind: "blocks"; readonly blocks: readonly Uint8Array[] }
  | {
      readonly kind: "fetchBlocks";
      readonly request: RequestId;
      readonly refs: readonly BlockRef[];
    }
  /** Those that are there and fit into one message, in the order asked for. */
  | {
      readonly kind: "fetchedBlocks";
      readonly request: RequestId;
      readonly blocks: readonly Uint8Array[];
    }
  | {
      readonly kind: "fetchCommits";
      readonly request: RequestId;
      readonly fromIndex: number;
      readonly toIndex: number;
    }
  /** Consecutive commits, and signed headers with a quorum of votes for the last; both empty if there is no such. */
  | {
      readonly kind: "fetchedCommits";
      readonly request: RequestId;
      readonly commits: readonly Uint8Array[];
      readonly certifiers: readonly Uint8Array[];
    }
  /** Which block of mine is the last that you know? */
  | { readonly kind: "askOwnBlock" }
  | { readonly kind: "ownBlock"; readonly block: Uint8Array | undefined };

/** What a message takes in memory, near enough for limits. */
export function messageBytes(message: PeerMessage): number {
  switch (message.kind) {
    case "blocks":
    case "fetchedBlocks":
      return MESSAGE_BYTES + totalBytes(message.blocks);
    case "fetchedCommits":
      return MESSAGE_BYTES + totalBytes(message.commits) + totalBytes(message.certifiers);
    case "fetchBlocks":
      return MESSAGE_BYTES + message.refs.length * REF_BYTES;
    case "ownBlock":
      return MESSAGE_BYTES + (message.block?.length ?? 0);
    case "subscribe":
    case "fetchCommits":
    case "askOwnBlock":
      return MESSAGE_BYTES;
  }
}

const MESSAGE_BYTES = 16;

function totalBytes(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/**
 * Messages as frames. A block is not encoded again: its bytes go out as a part of their own, and come in as a view of
 * the frame's body. Every list has its limit. Source: guides: faults, 4.4 "encoding".
 */
import {
  bytes,
  decode,
  encode,
  option,
  struct,
  u32,
  u64,
  vector,
} from "../../protocol/base/codec.ts";
import { RejectedError } from "../../protocol/base/errors.ts";
import { Reader, Writer } from "../../protocol/base/wire.ts";
import { blockRefCodec } from "../../protocol/consensus/block.ts";
import { type Frame, frameHead, type FrameLimit } from "./frame.ts";
import type { NetworkLimits } from "./limits.ts";
import type { PeerMessage } from "./message.ts";

/** References, blocks, commits or headers of one message. */
const LIST_MAX = 1000;
/** What the frame's own limit leaves. */
const PART_BYTES_MAX = 2 ** 31;

/** By the type of their frame. Types from 240 on are of the handshake. */
const KINDS = [
  "subscribe",
  "blocks",
  "fetchBlocks",
  "fetchedBlocks",
  "fetchCommits",
  "fetchedCommits",
  "askOwnBlock",
  "ownBlock",
] as const satisfies readonly PeerMessage["kind"][];
const DATA: ReadonlySet<PeerMessage["kind"]> = new Set([
  "blocks",
  "fetchedBlocks",
  "fetchedCommits",
  "ownBlock",
]);

type Body<K extends PeerMessage["kind"]> = Omit<Extract<PeerMessage, { readonly kind: K }>, "kind">;

const subscribeCodec = struct<Body<"subscribe">>({ aboveRound: u32 });
const fetchBlocksCodec = struct<Body<"fetchBlocks">>({
  request: u64,
  refs: vector(blockRefCodec, LIST_MAX),
});
const fetchCommitsCodec = struct<Body<"fetchCommits">>({
  request: u64,
  fromIndex: u64,
  toIndex: u64,
});
const partCodec = bytes(PART_BYTES_MAX);
const partsCodec = vector(partCodec, LIST_MAX);
const blocksCodec = struct<Body<"blocks">>({ blocks: partsCodec });
const fetchedBlocksCodec = struct<Body<"fetchedBlocks">>({ request: u64, blocks: partsCodec });
const fetchedCommitsCodec = struct<Body<"fetchedCommits">>({
  request: u64,
  commits: partsCodec,
  certifiers: partsCodec,
});
const ownBlockCodec = struct<Body<"ownBlock">>({ block: option(partCodec) });

/** Limits of messages: short ones, and those with blocks. */
export function messageLimit({
  controlFrameBytesMax,
  dataFrameBytesMax,
}: NetworkLimits): FrameLimit {
  return (type) => {
    const kind = KINDS[type];
    if (kind === undefined) return undefined;
    return DATA.has(kind) ? dataFrameBytesMax : controlFrameBytesMax;
  };
}

/** A frame in parts, to be written one behind the other; the blocks in it are not copied. */
export function encodeMessage(message: PeerMessage): readonly Uint8Array[] {
  const body = encodeBody(message);
  const length = body.reduce((sum, part) => sum + part.length, 0);
  return [frameHead(KINDS.indexOf(message.kind), length), ...body];
}

function encodeBody(message: PeerMessage): readonly Uint8Array[] {
  switch (message.kind) {
    case "subscribe":
      return [encode(subscribeCodec, message)];
    case "fetchBlocks":
      return [encode(fetchBlocksCodec, message)];
    case "fetchCommits":
      return [encode(fetchCommitsCodec, message)];
    case "askOwnBlock":
      return [];
    case "blocks":
      return encodeParts(message.blocks);
    case "fetchedBlocks":
      return [encode(u64, message.request), ...encodeParts(message.blocks)];
    case "fetchedCommits":
      return [
        encode(u64, message.request),
        ...encodeParts(message.commits),
        ...encodeParts(message.certifiers),
      ];
    case "ownBlock":
      // An option is written as a list of one is.
      return message.block === undefined ? [Uint8Array.of(0)] : encodeParts([message.block]);
  }
}

/** As partsCodec writes, without copying. */
function encodeParts(parts: readonly Uint8Array[]): readonly Uint8Array[] {
  return [
    encodeLength(parts.length),
    ...parts.flatMap((part) => [encodeLength(part.length), part]),
  ];
}

function encodeLength(value: number): Uint8Array {
  const writer = new Writer(5);
  writer.length(value);
  return writer.finish();
}

/** @param frame whose body nobody changes afterwards: blocks are views of it  @throws RejectedError */
export function decodeMessage({ type, body }: Frame): PeerMessage {
  const kind: PeerMessage["kind"] | undefined = KINDS[type];
  if (kind === undefined) throw new RejectedError("UNKNOWN_VARIANT", `no message of type ${type}`);
  switch (kind) {
    case "subscribe":
      return { kind, ...decode(subscribeCodec, body) };
    case "blocks":
      return { kind, ...decode(blocksCodec, body) };
    case "fetchBlocks":
      return { kind, ...decode(fetchBlocksCodec, body) };
    case "fetchedBlocks":
      return { kind, ...decode(fetchedBlocksCodec, body) };
    case "fetchCommits":
      return { kind, ...decode(fetchCommitsCodec, body) };
    case "fetchedCommits":
      return { kind, ...decode(fetchedCommitsCodec, body) };
    case "askOwnBlock":
      new Reader(body).finish();
      return { kind };
    case "ownBlock":
      return { kind, ...decode(ownBlockCodec, body) };
  }
}

/** Every way in for bytes from peers: blocks, commits, messages, frames, handshakes, signatures. Those from disk: storage-decoders.ts. */
import { concatBytes } from "../../protocol/base/bytes.ts";
import {
  bool,
  bytes,
  type Codec,
  decode,
  encode,
  fixedBytes,
  map,
  option,
  struct,
  text,
  u16,
  u32,
  u64,
  u64Big,
  u8,
  union,
  type ValueOf,
  vector,
} from "../../protocol/base/codec.ts";
import { RejectedError } from "../../protocol/base/errors.ts";
import { consensusParameters } from "../../protocol/base/parameters.ts";
import { Writer } from "../../protocol/base/wire.ts";
import { type Header, SignedHeader, writeHeader } from "../../protocol/consensus/block.ts";
import { BlockVerifier } from "../../protocol/consensus/block-verifier.ts";
import { decodeCommit, encodeCommit } from "../../protocol/consensus/commit.ts";
import { transactionsOf } from "../../protocol/consensus/duplicates.ts";
import { Ed25519PublicKey, Ed25519Signer } from "../../protocol/crypto/ed25519.ts";
import type { Rng } from "../../tokenizers/random.ts";
import { frameHead, FrameReader } from "../network/frame.ts";
import { Handshake, HANDSHAKE_CODECS } from "../network/handshake.ts";
import { DEFAULT_NETWORK_LIMITS } from "../network/limits.ts";
import { decodeMessage, encodeMessage, messageLimit } from "../network/wire.ts";
import type { Decoder } from "./fuzz.ts";
import {
  blockAround,
  drawnBlock,
  drawnBytes,
  drawnCommit,
  drawnCount,
  drawnMessage,
  drawnPayload,
  FUZZ_COMMITTEE,
} from "./sound-bytes.ts";
import { STORAGE_DECODERS } from "./storage-decoders.ts";

/** A structure with every kind of field that a codec can be made of. */
const everyKind = struct({
  a: u8,
  b: u16,
  c: u32,
  d: u64,
  e: u64Big,
  f: bool,
  g: fixedBytes(3),
  h: bytes(300),
  i: text(400),
  j: option(u16),
  k: vector(struct({ x: u32, y: bytes(4) }), 200),
  l: union<
    | { readonly kind: "none" }
    | { readonly kind: "one"; readonly value: number }
    | { readonly kind: "many"; readonly values: readonly number[] }
  >({ none: struct({}), one: struct({ value: u8 }), many: struct({ values: vector(u16, 9) }) }),
  m: map(u16, bool, 50),
});
type EveryKind = ValueOf<typeof everyKind>;

function drawnEveryKind(rng: Rng): EveryKind {
  const { l, count } = { l: rng.uniform(3), count: rng.uniform(5) };
  return {
    a: rng.uniform(256),
    b: rng.uniform(0x10000),
    c: rng.word(),
    d: drawnCount(rng),
    e: rng.uniformBig(2n ** 64n),
    f: rng.uniform(2) === 1,
    g: drawnBytes(rng, 3),
    h: drawnBytes(rng, rng.uniform(200)),
    i: "añ漢🙂".repeat(rng.uniform(6)),
    j: rng.uniform(2) === 0 ? undefined : rng.uniform(0x10000),
    k: Array.from({ length: count }, () => ({ x: rng.word(), y: drawnBytes(rng, 3) })),
    l:
      l === 0
        ? { kind: "none" }
        : l === 1
          ? { kind: "one", value: rng.uniform(256) }
          : { kind: "many", values: Array.from({ length: count }, () => rng.uniform(9)) },
    m: new Map(
      Array.from({ length: count }, () => [rng.uniform(0x10000), rng.uniform(2) === 1] as const),
    ),
  };
}

const parameters = consensusParameters();
const verifier = new BlockVerifier({
  committee: FUZZ_COMMITTEE,
  parameters,
  checkSignature: () => true, // else nothing behind the signature would be reached
});

/** What a header says, written again, and its signature. */
function headerAgain(header: SignedHeader): Uint8Array {
  const { epoch, round, author, timestampMs, commitVotes, payloadDigest } = header;
  const ancestors = header.ancestors.refs();
  const fields: Header = {
    epoch,
    round,
    author,
    timestampMs,
    ancestors,
    commitVotes,
    payloadDigest,
  };
  const writer = new Writer();
  writeHeader(writer, fields);
  writer.raw(header.signature);
  return writer.finish();
}

function payloadAgain(payload: Uint8Array): Uint8Array {
  const transactions = transactionsOf(payload);
  const writer = new Writer();
  writer.length(transactions.length);
  for (const transaction of transactions) {
    writer.length(transaction.length);
    writer.raw(transaction);
  }
  return writer.finish();
}

/** All frames that the bytes hold, as they come in pieces, and what is left of an unfinished one. */
function framesAgain(input: Uint8Array): Uint8Array {
  const reader = new FrameReader(messageLimit(DEFAULT_NETWORK_LIMITS));
  const parts: Uint8Array[] = [];
  let size = 0;
  const pieceBytes = 1 + (input.length % 97);
  for (let at = 0; at < input.length; at += pieceBytes) {
    reader.push(input.subarray(at, at + pieceBytes));
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
      const { type, body } = frame;
      parts.push(...encodeMessage(decodeMessage({ type, body })));
      size += frameHead(type, body.length).length + body.length;
    }
  }
  return concatBytes(...parts, input.subarray(size));
}

const signer = new Ed25519Signer(new Uint8Array(32).fill(7));
const HELLO = 240;
const PROOF = 241;
const REFUSAL = 242;

/** A frame of a handshake: its type, then its body. */
function drawnHandshake(rng: Rng): Uint8Array {
  switch (rng.uniform(3)) {
    case 0:
      // Of a handshake that has just begun: what it says first, without the frame's length.
      return concatBytes(...newHandshake(1 + rng.uniform(3), rng).begin()).slice(4);
    case 1:
      return concatBytes(Uint8Array.of(PROOF), drawnBytes(rng, 64));
    default:
      return Uint8Array.of(REFUSAL, rng.uniform(5));
  }
}

function newHandshake(ownIndex: number, rng?: Rng): Handshake {
  return new Handshake({
    committee: FUZZ_COMMITTEE,
    ownIndex,
    signer: { publicKey: signer.publicKey, sign: () => new Uint8Array(64) },
    checkSignature: () => true,
    nonce: rng === undefined ? new Uint8Array(32) : drawnBytes(rng, 32),
    expected: undefined,
    isWelcome: () => true,
  });
}

function handshakeAgain(input: Uint8Array): Uint8Array {
  const [type = 0, body] = [input[0], input.subarray(1)];
  const handshake = newHandshake(0);
  if (type === PROOF) {
    const [, hello = new Uint8Array(0)] = newHandshake(1).begin();
    handshake.take({ type: HELLO, body: hello });
  }
  handshake.take({ type, body });
  return concatBytes(Uint8Array.of(type), codecAgain(type, body));
}

function codecAgain(type: number, body: Uint8Array): Uint8Array {
  const again = <T>(codec: Codec<T>): Uint8Array => encode(codec, decode(codec, body));
  if (type === HELLO) return again(HANDSHAKE_CODECS[HELLO]);
  if (type === PROOF) return again(HANDSHAKE_CODECS[PROOF]);
  return again(HANDSHAKE_CODECS[REFUSAL]);
}

const MESSAGE = Uint8Array.of(1, 2, 3);

/** Any key and any signature: a word of yes or no, never an error. */
function signatureAgain(input: Uint8Array): Uint8Array | undefined {
  if (input.length < 32) return undefined;
  const key = new Ed25519PublicKey(input.subarray(0, 32));
  return key.verify(MESSAGE, input.subarray(32)) ? input : undefined;
}

const PEER_DECODERS: readonly Decoder[] = [
  {
    name: "codec",
    sample: (rng) => encode(everyKind, drawnEveryKind(rng)).slice(),
    roundTrip: (input) => encode(everyKind, decode(everyKind, input)),
  },
  {
    name: "header",
    sample: (rng) => new SignedHeader(drawnBlock(rng), 100).headerBytes.slice(),
    roundTrip: (input) => {
      const header = new SignedHeader(input, parameters.blockCommitVotesMax);
      if (header.headerSize !== input.length) throw new RejectedError("TRAILING_BYTES", "header");
      return headerAgain(header);
    },
  },
  {
    name: "block",
    sample: drawnBlock,
    roundTrip: (input) => {
      const block = verifier.read(input);
      return concatBytes(headerAgain(block), block.payload);
    },
  },
  {
    name: "verified block",
    sample: (rng) => blockAround(drawnPayload(rng)),
    roundTrip: (input) => {
      const block = verifier.verify(verifier.read(input));
      return concatBytes(headerAgain(block), payloadAgain(block.payload));
    },
  },
  {
    name: "payload",
    sample: drawnPayload,
    roundTrip: (input) => payloadAgain(verifier.verify(verifier.read(blockAround(input))).payload),
  },
  {
    name: "commit",
    sample: (rng) => drawnCommit(rng),
    roundTrip: (input) => encodeCommit(decodeCommit(input)),
  },
  {
    name: "message",
    sample: (rng) => concatBytes(...encodeMessage(drawnMessage(rng))).slice(4),
    roundTrip: (input) => {
      const message = decodeMessage({ type: input[0] ?? 255, body: input.subarray(1) });
      return concatBytes(...encodeMessage(message)).subarray(4);
    },
  },
  {
    name: "frames",
    sample: (rng) =>
      concatBytes(
        ...Array.from({ length: 1 + rng.uniform(3) }, () =>
          encodeMessage(drawnMessage(rng)),
        ).flat(),
      ),
    roundTrip: framesAgain,
  },
  { name: "handshake", sample: drawnHandshake, roundTrip: handshakeAgain },
  {
    name: "signature",
    sample: () => concatBytes(signer.publicKey, signer.sign(MESSAGE)),
    roundTrip: signatureAgain,
  },
];

export const ALL_DECODERS: readonly Decoder[] = [...PEER_DECODERS, ...STORAGE_DECODERS];

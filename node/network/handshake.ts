/**
 * Who is at the other end. Both sides say hello (protocol version, network, epoch, who they are, a nonce) and then sign
 * both nonces with the key that the committee knows them by, so that neither can be recorded, turned round or passed
 * off as another's. Nothing else is read before. It names the peer at the start of a connection and does not protect
 * what follows: blocks are signed by themselves, and who can change bytes on the way can at worst have a peer blamed.
 * Where the way is not trusted, an encrypted transport belongs under the same port.
 */
import { decode, encode, fixedBytes, struct, u16, u64, u8 } from "../../protocol/base/codec.ts";
import { RejectedError } from "../../protocol/base/errors.ts";
import { DIGEST_BYTES, hashDomain, hashStructure } from "../../protocol/base/hash.ts";
import {
  type AuthorityIndex,
  type Digest,
  SIGNATURE_BYTES,
} from "../../protocol/consensus/block.ts";
import type { SignatureCheck } from "../../protocol/consensus/block-verifier.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import type { Signer } from "../../protocol/consensus/events.ts";
import { type Frame, frameHead, type FrameLimit } from "./frame.ts";
import type { NetworkLimits } from "./limits.ts";

/** Of the messages after the handshake. Another one is refused, and told so. */
export const WIRE_VERSION = 1;
export const NONCE_BYTES = 32;

const HELLO = 240;
const PROOF = 241;
const REFUSAL = 242;

/** Why a connection is refused without blame: the other side may be right, and learns what is not as it thinks. */
const REFUSALS = ["version", "network", "epoch", "notExpected", "banned"] as const;
export type Refusal = (typeof REFUSALS)[number];

interface Hello {
  readonly magic: Uint8Array;
  readonly version: number;
  readonly genesisDigest: Digest;
  readonly epoch: number;
  readonly index: AuthorityIndex;
  readonly nonce: Uint8Array;
}

interface Proof {
  readonly signature: Uint8Array;
}

/** What is signed: each side its own, with itself first. */
interface Challenge {
  readonly genesisDigest: Digest;
  readonly epoch: number;
  readonly signer: AuthorityIndex;
  readonly other: AuthorityIndex;
  readonly signerNonce: Uint8Array;
  readonly otherNonce: Uint8Array;
}

const MAGIC = Uint8Array.of(0x53, 0x4f, 0x4d, 0x41); // "SOMA"
const DOMAIN = hashDomain("handshake");

const helloCodec = struct<Hello>({
  magic: fixedBytes(MAGIC.length),
  version: u16,
  genesisDigest: fixedBytes(DIGEST_BYTES),
  epoch: u64,
  index: u16,
  nonce: fixedBytes(NONCE_BYTES),
});
const proofCodec = struct<Proof>({ signature: fixedBytes(SIGNATURE_BYTES) });
const challengeCodec = struct<Challenge>({
  genesisDigest: fixedBytes(DIGEST_BYTES),
  epoch: u64,
  signer: u16,
  other: u16,
  signerNonce: fixedBytes(NONCE_BYTES),
  otherNonce: fixedBytes(NONCE_BYTES),
});
const refusalCodec = struct<{ readonly reason: number }>({ reason: u8 });

/** How the frames of a handshake are written and read, by their type. */
export const HANDSHAKE_CODECS = {
  [HELLO]: helloCodec,
  [PROOF]: proofCodec,
  [REFUSAL]: refusalCodec,
};

export function handshakeLimit({ handshakeFrameBytesMax }: NetworkLimits): FrameLimit {
  return (type) => (type >= HELLO && type <= REFUSAL ? handshakeFrameBytesMax : undefined);
}

export interface HandshakeOptions {
  readonly committee: Committee;
  readonly ownIndex: AuthorityIndex;
  readonly signer: Signer;
  readonly checkSignature: SignatureCheck;
  /** 32 fresh random bytes. */
  readonly nonce: Uint8Array;
  /** Whom we called; undefined where we were called. */
  readonly expected: AuthorityIndex | undefined;
  /** Whether a peer that called us may. */
  readonly isWelcome: (peer: AuthorityIndex) => boolean;
}

export type HandshakeStep =
  | { readonly kind: "send"; readonly frame: readonly Uint8Array[] }
  /** Send the frame and close. */
  | { readonly kind: "refuse"; readonly reason: Refusal; readonly frame: readonly Uint8Array[] }
  | { readonly kind: "refused"; readonly reason: Refusal }
  | { readonly kind: "done"; readonly peer: AuthorityIndex };

/** One side of it: frames in, steps out. */
export class Handshake {
  private readonly options: HandshakeOptions;
  private hello: Hello | undefined;

  constructor(options: HandshakeOptions) {
    this.options = options;
  }

  /** What goes out first, unasked. */
  begin(): readonly Uint8Array[] {
    const { committee, ownIndex, nonce } = this.options;
    const { genesisDigest, epoch } = committee;
    const hello = {
      magic: MAGIC,
      version: WIRE_VERSION,
      genesisDigest,
      epoch,
      index: ownIndex,
      nonce,
    };
    return frameOf(HELLO, encode(helloCodec, hello));
  }

  /** @throws RejectedError: what came is no handshake, or not of the one it claims to be */
  take({ type, body }: Frame): HandshakeStep {
    if (type === REFUSAL) return { kind: "refused", reason: reasonOf(body) };
    if (this.hello === undefined) {
      if (type !== HELLO) throw new RejectedError("UNKNOWN_VARIANT", `type ${type} before a hello`);
      return this.greet(decode(helloCodec, body));
    }
    if (type !== PROOF) throw new RejectedError("UNKNOWN_VARIANT", `type ${type} before a proof`);
    const { signature } = decode(proofCodec, body);
    const { ownIndex, nonce, checkSignature } = this.options;
    const { index, nonce: otherNonce } = this.hello;
    const digest = this.challenge({
      signer: index,
      other: ownIndex,
      signerNonce: otherNonce,
      otherNonce: nonce,
    });
    if (!checkSignature(index, digest, signature)) {
      throw new RejectedError("BAD_SIGNATURE", `who called is not validator ${index}`);
    }
    return { kind: "done", peer: index };
  }

  private greet(hello: Hello): HandshakeStep {
    if (!hello.magic.every((byte, i) => byte === MAGIC[i])) {
      throw new RejectedError("UNKNOWN_VARIANT", "a hello of something else");
    }
    const reason = this.whyNot(hello);
    if (reason !== undefined) {
      const frame = frameOf(REFUSAL, encode(refusalCodec, { reason: REFUSALS.indexOf(reason) }));
      return { kind: "refuse", reason, frame };
    }
    this.hello = hello;
    const { ownIndex, nonce, signer } = this.options;
    const digest = this.challenge({
      signer: ownIndex,
      other: hello.index,
      signerNonce: nonce,
      otherNonce: hello.nonce,
    });
    return {
      kind: "send",
      frame: frameOf(PROOF, encode(proofCodec, { signature: signer.sign(digest) })),
    };
  }

  private whyNot({ version, genesisDigest, epoch, index }: Hello): Refusal | undefined {
    const { committee, ownIndex, expected, isWelcome } = this.options;
    if (version !== WIRE_VERSION) return "version";
    if (!genesisDigest.every((byte, i) => byte === committee.genesisDigest[i])) return "network";
    if (epoch !== committee.epoch) return "epoch";
    if (index >= committee.size || index === ownIndex) return "notExpected";
    if (expected !== undefined) return index === expected ? undefined : "notExpected";
    return isWelcome(index) ? undefined : "banned";
  }

  private challenge(names: Omit<Challenge, "genesisDigest" | "epoch">): Digest {
    const { genesisDigest, epoch } = this.options.committee;
    return hashStructure(DOMAIN, encode(challengeCodec, { genesisDigest, epoch, ...names }));
  }
}

function frameOf(type: number, body: Uint8Array): readonly Uint8Array[] {
  return [frameHead(type, body.length), body];
}

function reasonOf(body: Uint8Array): Refusal {
  const reason = REFUSALS[decode(refusalCodec, body).reason];
  if (reason === undefined) throw new RejectedError("UNKNOWN_VARIANT", "no such refusal");
  return reason;
}

/** Who takes part in a run: a committee with keys, and one memory of checked signatures for all of its nodes. */
import type { AuthorityIndex, Digest } from "../../protocol/consensus/block.ts";
import type { Signer } from "../../protocol/consensus/events.ts";
import { Committee } from "../../protocol/consensus/committee.ts";
import { committeeSignatures } from "../../protocol/consensus/signatures.ts";
import type { SignatureCheck } from "../../protocol/consensus/block-verifier.ts";
import { hashDomain, hashParts } from "../../protocol/base/hash.ts";
import { u32Bytes } from "../../protocol/base/bytes.ts";
import type { Milliseconds } from "../../protocol/base/effects.ts";
import { Ed25519Signer } from "../../protocol/crypto/ed25519.ts";
import { present } from "../../base/errors.ts";

/** 2023-11-14, when every run begins. */
export const GENESIS_MS: Milliseconds = 1_700_000_000_000;

const KEY_DOMAIN = hashDomain("simulation-key");
const GENESIS_DOMAIN = hashDomain("simulation-genesis");

export interface Seats {
  readonly committee: Committee;
  /** By author. */
  readonly signers: readonly Signer[];
  readonly checkSignature: SignatureCheck;
}

/**
 * @param stakes one a validator, in the order of their indices
 * @param sharesChecks check each signature once for all nodes; else each node checks it, as real ones do
 */
export function takeSeats(stakes: readonly number[], sharesChecks = true): Seats {
  const signers = stakes.map((_, i) => new Ed25519Signer(hashParts(KEY_DOMAIN, u32Bytes(i))));
  const committee = new Committee({
    epoch: 0,
    authorities: stakes.map((stake, i) => ({
      address: addressOf(i),
      publicKey: present(signers[i], "one signer a stake").publicKey,
      stake,
    })),
    genesisDigest: hashParts(GENESIS_DOMAIN, u32Bytes(stakes.length)),
    genesisTimestampMs: GENESIS_MS,
  });
  const check = committeeSignatures(committee);
  if (!sharesChecks) return { committee, signers, checkSignature: check };
  const memory = new SignatureMemory(check);
  return {
    committee,
    signers: signers.map((signer, author) => memory.trusted(author, signer)),
    checkSignature: memory.check,
  };
}

/** Ascending with the index, so that validators are numbered as they were given. */
function addressOf(index: number): Uint8Array {
  const address = new Uint8Array(32);
  address[0] = index >> 8;
  address[1] = index & 0xff;
  return address;
}

/** Answers remembered, at most. */
const REMEMBERED_MAX = 1 << 16;

/**
 * Checks each signature once: the check is a pure function, and in a run of n nodes each block is checked n − 1 times.
 * Those that were made here, with the right key, are known to be right. Real nodes share nothing and pay for every
 * check: where a run reports CPU time, this is said.
 */
class SignatureMemory {
  private answers = new Map<string, boolean>();
  private readonly real: SignatureCheck;

  constructor(real: SignatureCheck) {
    this.real = real;
  }

  readonly check: SignatureCheck = (author, digest, signature) => {
    const key = keyOf(author, digest, signature);
    const known = this.answers.get(key);
    if (known !== undefined) return known;
    const answer = this.real(author, digest, signature);
    this.remember(key, answer);
    return answer;
  };

  /** A signer of this author whose signatures need no check. */
  trusted(author: AuthorityIndex, signer: Ed25519Signer): Signer {
    return {
      publicKey: signer.publicKey,
      sign: (digest) => {
        const signature = signer.sign(digest);
        this.remember(keyOf(author, digest, signature), true);
        return signature;
      },
    };
  }

  private remember(key: string, answer: boolean): void {
    if (this.answers.size >= REMEMBERED_MAX) this.answers = new Map();
    this.answers.set(key, answer);
  }
}

function keyOf(author: AuthorityIndex, digest: Digest, signature: Uint8Array): string {
  return `${author}/${latin1(digest)}/${latin1(signature)}`;
}

/** A string with one character a byte: the quickest key of a map. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

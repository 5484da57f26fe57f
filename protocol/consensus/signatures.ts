/** Signatures of a committee's blocks: strict Ed25519 with each validator's key kept ready. */
import { Ed25519PublicKey } from "../crypto/ed25519.ts";
import type { SignatureCheck } from "./block-verifier.ts";
import type { Committee } from "./committee.ts";

export function committeeSignatures(committee: Committee): SignatureCheck {
  const keys = Array.from(
    { length: committee.size },
    (_, author) => new Ed25519PublicKey(committee.authority(author).publicKey),
  );
  return (author, digest, signature) => keys[author]?.verify(digest, signature) ?? false;
}

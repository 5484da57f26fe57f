/**
 * Ed25519 with one accept set for the whole network (protocol part 11): the equation without cofactor (the hash reduced
 * by the order first, as all libraries do), S below the group's order, A and R canonical, neither of small order. Keys
 * with a torsion part are accepted, as the equation decides about them alike everywhere. node:crypto does the
 * arithmetic; what it leaves to the caller is checked here. Signing is deterministic (RFC 8032): signing the same block
 * twice gives one block.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { assert } from "../../base/errors.ts";
import { compareBytes, concatBytes, equalBytes, toHex } from "../base/bytes.ts";

export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
const SEED_BYTES = 32;

/** What DER puts before the 32 bytes of a key: `SEQUENCE { SEQUENCE { OID 1.3.101.112 }, … }`. */
const SPKI_HEAD = Uint8Array.of(
  0x30,
  0x2a,
  0x30,
  0x05,
  0x06,
  0x03,
  0x2b,
  0x65,
  0x70,
  0x03,
  0x21,
  0,
);
const PKCS8_HEAD = Uint8Array.of(
  ...[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06],
  ...[0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20],
);

/** Order of the group, 2^252 + 27742317777372353535851937790883648493, little-endian. */
const ORDER = Uint8Array.of(
  ...[
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
  ],
  ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10],
);
/** The field's prime, 2^255 − 19, little-endian. */
const PRIME = Uint8Array.of(0xed, ...Array.from({ length: 30 }, () => 0xff), 0x7f);

/** Canonical encodings of the eight points whose order divides 8. */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]);
/** First bytes of those: all other points are told apart without making a string. */
const SMALL_ORDER_STARTS: ReadonlySet<number> = new Set([0x01, 0xec, 0x00, 0x26, 0xc7]);

/** A public key ready to verify with: making the key object costs more than a verification. */
export class Ed25519PublicKey {
  readonly bytes: Uint8Array;
  private readonly key: KeyObject | undefined;

  /** @param bytes 32, any: a key that is refused verifies nothing */
  constructor(bytes: Uint8Array) {
    assert(bytes.length === PUBLIC_KEY_BYTES, `a public key has 32 bytes, not ${bytes.length}`);
    this.bytes = bytes;
    if (isCanonicalPoint(bytes) && !isSmallOrder(bytes)) this.key = publicKeyObject(bytes);
  }

  /** @param signature of any length and content */
  verify(message: Uint8Array, signature: Uint8Array): boolean {
    if (this.key === undefined || signature.length !== SIGNATURE_BYTES) return false;
    const pointR = signature.subarray(0, 32);
    // A non-canonical R equals no encoding that the library computes; a small one must be told by us.
    if (!isScalar(signature.subarray(32)) || isSmallOrder(pointR)) return false;
    return verify(null, message, this.key, signature);
  }
}

/** Signs with one secret key. */
export class Ed25519Signer {
  readonly publicKey: Uint8Array;
  private readonly key: KeyObject;

  /** @param seed 32 bytes, the secret */
  constructor(seed: Uint8Array) {
    assert(seed.length === SEED_BYTES, `a secret key has 32 bytes, not ${seed.length}`);
    const der = concatBytes(PKCS8_HEAD, seed);
    this.key = createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
    const spki = createPublicKey(this.key).export({ format: "der", type: "spki" });
    this.publicKey = Uint8Array.from(spki.subarray(SPKI_HEAD.length));
  }

  /** @returns 64 bytes, the same for the same message */
  sign(message: Uint8Array): Uint8Array {
    return sign(null, message, this.key);
  }
}

function publicKeyObject(bytes: Uint8Array): KeyObject {
  const der = concatBytes(SPKI_HEAD, bytes);
  return createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
}

/** True for a y below the prime, with the sign bit clear where x is 0. Whether it lies on the curve is not asked. */
function isCanonicalPoint(bytes: Uint8Array): boolean {
  const y = Uint8Array.from(bytes);
  const sign = (y[31] ?? 0) >> 7;
  y[31] = (y[31] ?? 0) & 0x7f;
  if (compareLittleEndian(y, PRIME) >= 0) return false;
  return sign === 0 || !(isPlusOne(y) || isMinusOne(y)); // x = 0 exactly where y = ±1
}

function isPlusOne(y: Uint8Array): boolean {
  return y.every((byte, i) => byte === (i === 0 ? 1 : 0));
}

function isMinusOne(y: Uint8Array): boolean {
  const minusOne = Uint8Array.from(PRIME);
  minusOne[0] = (PRIME[0] ?? 0) - 1;
  return equalBytes(y, minusOne);
}

function isSmallOrder(point: Uint8Array): boolean {
  return SMALL_ORDER_STARTS.has(point[0] ?? 0) && SMALL_ORDER.has(toHex(point));
}

/** True below the group's order. */
function isScalar(bytes: Uint8Array): boolean {
  if ((bytes[31] ?? 0) < 0x10) return true; // most are
  return compareLittleEndian(bytes, ORDER) < 0;
}

function compareLittleEndian(a: Uint8Array, b: Uint8Array): number {
  return compareBytes(a.toReversed(), b.toReversed());
}

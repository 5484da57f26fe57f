import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Ed25519PublicKey, Ed25519Signer } from "../../../protocol/crypto/ed25519.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const read = (name: string): unknown =>
  JSON.parse(readFileSync(`test/vectors/signatures/${name}`, "utf8"));

function accepts(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return publicKey.length === 32 && new Ed25519PublicKey(publicKey).verify(message, signature);
}

/** The same accept set from a second program's arithmetic: points of noble, the equation without cofactor. */
function acceptsByNoble(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (signature.length !== 64 || publicKey.length !== 32) return false;
  try {
    const A = ed25519.Point.fromBytes(publicKey, false);
    const R = ed25519.Point.fromBytes(signature.subarray(0, 32), false);
    if (A.isSmallOrder() || R.isSmallOrder()) return false;
  } catch {
    return false; // off the curve, or not canonical
  }
  return ed25519.verify(signature, message, publicKey, { zip215: false });
}

interface SpecCheck {
  readonly message: string;
  readonly pub_key: string;
  readonly signature: string;
}

interface Wycheproof {
  readonly testGroups: readonly {
    readonly publicKey: { readonly pk: string };
    readonly tests: readonly {
      readonly tcId: number;
      readonly msg: string;
      readonly sig: string;
      readonly result: string;
    }[];
  }[];
}

const SPECCHECK = read("ed25519_speccheck.json") as readonly SpecCheck[];
const WYCHEPROOF = (read("wycheproof_ed25519_test.json") as Wycheproof).testGroups.flatMap(
  ({ publicKey, tests }) => tests.map((each) => ({ ...each, pk: publicKey.pk })),
);

test("of the twelve disputed signatures number 3 alone is accepted", () => {
  const accepted = SPECCHECK.map(({ message, pub_key, signature }) =>
    accepts(bytes(pub_key), bytes(message), bytes(signature)),
  );
  expect(accepted.length).toBe(12);
  expect(accepted.flatMap((is, number) => (is ? [number] : []))).toEqual([3]);
});

test("Wycheproof's signatures are judged as Wycheproof judges them", () => {
  expect(WYCHEPROOF.length).toBeGreaterThan(150);
  const wrong = WYCHEPROOF.filter(
    ({ pk, msg, sig, result }) =>
      accepts(bytes(pk), bytes(msg), bytes(sig)) !== (result === "valid"),
  );
  expect(wrong.map(({ tcId }) => tcId)).toEqual([]);
});

describe("keys and points on the edge", () => {
  const signer = new Ed25519Signer(new Uint8Array(32).fill(7));
  const message = bytes("00112233");
  const signature = signer.sign(message);

  test("a signature of the wrong length is refused, shorter or longer", () => {
    for (const length of [0, 63]) {
      expect(accepts(signer.publicKey, message, signature.subarray(0, length))).toBe(false);
    }
    expect(accepts(signer.publicKey, message, Buffer.concat([signature, bytes("00")]))).toBe(false);
  });

  test("S plus the group's order is refused", () => {
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = BigInt(`0x${Buffer.from(signature.subarray(32).toReversed()).toString("hex")}`);
    const hex = (s + order).toString(16).padStart(64, "0");
    const forged = Buffer.concat([signature.subarray(0, 32), bytes(hex).toReversed()]);
    expect(accepts(signer.publicKey, message, forged)).toBe(false);
  });

  // With A or R of small order, S = 0 and R = −h·A, anyone signs anything: every such pair must be refused.
  const T = ed25519.Point.fromHex(
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    false,
  );
  const small = Array.from({ length: 8 }, (_, i) =>
    i === 0 ? ed25519.Point.ZERO : T.multiply(BigInt(i)),
  ).map((point) => point.toBytes());

  test("there are eight points of small order, and none is a key", () => {
    expect(new Set(small.map((point) => Buffer.from(point).toString("hex"))).size).toBe(8);
    for (const key of small) {
      for (const R of small) {
        const zero = Buffer.concat([R, new Uint8Array(32)]);
        expect(accepts(key, message, zero)).toBe(false);
      }
    }
  });

  test("an R of small order is refused under an honest key", () => {
    for (const R of small) {
      const forged = Buffer.concat([R, signature.subarray(32)]);
      expect(accepts(signer.publicKey, message, forged)).toBe(false);
    }
  });

  test.each([
    ["y = p", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"],
    ["y = p + 1", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"],
    ["y = 2^255 − 1", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"],
    [
      "−0: y = 1 with the sign set",
      "0100000000000000000000000000000000000000000000000000000000000080",
    ],
    [
      "−0: y = −1 with the sign set",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ],
  ])("a key that is not canonical is refused: %s", (_title, hex) => {
    for (const R of small) {
      expect(accepts(bytes(hex), message, Buffer.concat([R, new Uint8Array(32)]))).toBe(false);
    }
  });

  test("signing twice gives the same bytes", () => {
    expect(signer.sign(message)).toEqual(signature);
  });
});

test("noble, with its own arithmetic, accepts the same signatures", () => {
  for (const { pk, msg, sig } of WYCHEPROOF) {
    const [key, message, signature] = [bytes(pk), bytes(msg), bytes(sig)];
    expect(accepts(key, message, signature)).toBe(acceptsByNoble(key, message, signature));
  }
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ maxLength: 100 }),
      fc.integer({ min: 0, max: 95 }),
      fc.integer({ min: 0, max: 255 }),
      (seed, message, position, change) => {
        const signer = new Ed25519Signer(seed);
        const key = Uint8Array.from(signer.publicKey);
        const signature = Uint8Array.from(signer.sign(message));
        expect(key).toEqual(ed25519.getPublicKey(seed));
        // One byte of the key or of the signature changed, or (change 0) none.
        if (position < 32) key[position] = (key[position] ?? 0) ^ change;
        else signature[position - 32] = (signature[position - 32] ?? 0) ^ change;
        expect(accepts(key, message, signature)).toBe(acceptsByNoble(key, message, signature));
        if (change === 0) expect(accepts(key, message, signature)).toBe(true);
      },
    ),
    { numRuns: 200 },
  );
});

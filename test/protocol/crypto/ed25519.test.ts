import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { Ed25519PublicKey, Ed25519Signer } from "../../../protocol/crypto/ed25519.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const read = (name: string): unknown =>
  JSON.parse(readFileSync(`test/vectors/signatures/${name}`, "utf8"));

function accepts(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return publicKey.length === 32 && new Ed25519PublicKey(publicKey).verify(message, signature);
}

const L = ed25519.Point.Fn.ORDER;

function littleEndian(value: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(value.toReversed()).toString("hex")}`);
}

/** h of the equation, reduced by the order as all libraries do: with a torsion part in A that makes a difference. */
function hashScalar(R: Uint8Array, A: Uint8Array, message: Uint8Array): bigint {
  return littleEndian(createHash("sha512").update(R).update(A).update(message).digest()) % L;
}

/**
 * The same accept set from a second program's arithmetic: points of noble, and the equation S·B = R + h·A on them.
 * (Its own `verify` multiplies by the cofactor first and accepts more.)
 */
function acceptsByNoble(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (signature.length !== 64 || publicKey.length !== 32) return false;
  const [encodedR, S] = [signature.subarray(0, 32), littleEndian(signature.subarray(32))];
  if (S >= L) return false;
  try {
    const A = ed25519.Point.fromBytes(publicKey, false);
    const R = ed25519.Point.fromBytes(encodedR, false);
    if (A.isSmallOrder() || R.isSmallOrder()) return false;
    const h = hashScalar(encodedR, publicKey, message);
    return ed25519.Point.BASE.multiplyUnsafe(S).equals(R.add(A.multiplyUnsafe(h)));
  } catch {
    return false; // off the curve, or not canonical
  }
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

describe("points with a torsion part", () => {
  const B = ed25519.Point.BASE;
  const T = ed25519.Point.fromHex(
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    false,
  );
  const torsion = [ed25519.Point.ZERO, ...[1n, 2n, 3n, 4n, 5n, 6n, 7n].map((i) => T.multiply(i))];
  const scalar = (value: bigint): Uint8Array =>
    bytes(value.toString(16).padStart(64, "0")).toReversed();

  test("are accepted exactly where the equation without cofactor holds, as one rule for the network", () => {
    // A = aB + T_i, R = rB + T_j, S = r + ha: the equation with cofactor always holds, ours where T_j + hT_i = 0.
    const [a, r] = [123_456_789n, 987_654_321n];
    const seen = { accepted: 0, refused: 0 };
    for (const [i, Ti] of torsion.entries()) {
      for (const [j, Tj] of torsion.entries()) {
        for (let m = 0; m < 4; m++) {
          const message = Uint8Array.of(i, j, m);
          const A = B.multiply(a).add(Ti).toBytes();
          const R = B.multiply(r).add(Tj).toBytes();
          const h = hashScalar(R, A, message);
          const signature = Buffer.concat([R, scalar((r + h * a) % L)]);
          const holds = (j + Number(h % 8n) * i) % 8 === 0;
          expect(ed25519.verify(signature, message, A, { zip215: true })).toBe(true);
          expect(accepts(A, message, signature)).toBe(holds);
          expect(acceptsByNoble(A, message, signature)).toBe(holds);
          seen[holds ? "accepted" : "refused"]++;
        }
      }
    }
    expect(seen.accepted).toBeGreaterThan(16);
    expect(seen.refused).toBeGreaterThan(150);
  });

  test("and nothing else, that is of small order, are refused although the equation holds", () => {
    // A = T_4, of order 2: where h is even R = rB and S = r sign without any secret.
    const r = 55n;
    const R = B.multiply(r).toBytes();
    const A = present(torsion[4], "of order 2").toBytes();
    let found = 0;
    for (let m = 0; m < 20; m++) {
      const message = Uint8Array.of(m);
      if (hashScalar(R, A, message) % 2n !== 0n) continue;
      found++;
      expect(accepts(A, message, Buffer.concat([R, scalar(r)]))).toBe(false);
    }
    expect(found).toBeGreaterThan(3);
  });
});

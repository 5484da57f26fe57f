import { describe, expect, test } from "vitest";
import { ALL_DECODERS } from "../../../node/conformance/decoders.ts";
import { type Decoder, runFuzz } from "../../../node/conformance/fuzz.ts";
import { mutated, randomBytes } from "../../../node/conformance/mutation.ts";
import { decode, encode, u16, vector } from "../../../protocol/base/codec.ts";
import { RejectedError } from "../../../protocol/base/errors.ts";
import { seededRng } from "../../../tokenizers/random.ts";

/** A million: `soma conformance fuzz --cases 1000000`. Here a short run. */
const CASES = 16_000;

describe("foreign bytes", () => {
  const result = runFuzz({ cases: CASES, seed: 1, decoders: ALL_DECODERS });

  test("are refused by name or are the encoding of what was read: no crash, no memory that was only claimed", () => {
    expect(result.failures).toEqual([]);
    const { crashes, overAllocations, mismatches, accepted, refused } = result;
    expect({ crashes, overAllocations, mismatches }).toEqual({
      crashes: 0,
      overAllocations: 0,
      mismatches: 0,
    });
    expect(accepted + refused).toBe(CASES);
  });

  test.each(result.decoders)("$name: sound ones are accepted, others refused", (tally) => {
    const each = CASES / ALL_DECODERS.length;
    expect(tally.accepted).toBeGreaterThan(each / 12); // one of eight is sound
    expect(tally.refused).toBeGreaterThan(each / 12);
  });
});

test("every sound sample is accepted and comes back as it was", () => {
  const rng = seededRng(3, "samples");
  for (const { name, sample, roundTrip } of ALL_DECODERS) {
    for (let i = 0; i < 20; i++) {
      const bytes = sample(rng);
      expect(Buffer.from(roundTrip(bytes) ?? []), name).toEqual(Buffer.from(bytes));
    }
  }
});

test("the same seed gives the same inputs", () => {
  const seen = (seed: number): string[] => {
    const inputs: string[] = [];
    const decoder: Decoder = {
      name: "listening",
      sample: randomBytes,
      roundTrip: (bytes) => {
        inputs.push(Buffer.from(bytes).toString("hex"));
        return bytes;
      },
    };
    runFuzz({ cases: 50, seed, decoders: [decoder] });
    return inputs;
  };
  expect(seen(1)).toEqual(seen(1));
  expect(seen(1)).not.toEqual(seen(2));
});

describe("what a fuzzing run finds", () => {
  const codec = vector(u16, 1000);
  const sound = (bytes: Uint8Array): Uint8Array => encode(codec, decode(codec, bytes));
  const run = (roundTrip: Decoder["roundTrip"]): ReturnType<typeof runFuzz> =>
    runFuzz({
      cases: 800,
      seed: 1,
      decoders: [{ name: "x", sample: () => encode(codec, [1, 2, 3]).slice(), roundTrip }],
    });

  test("is nothing in a decoder without faults", () => {
    expect(run(sound)).toMatchObject({ crashes: 0, overAllocations: 0, mismatches: 0 });
  });

  test("an error that is no refusal is a crash, told with the bytes", () => {
    const { crashes, failures } = run((bytes) => {
      if (bytes.length === 5) throw new TypeError("x is undefined");
      return sound(bytes);
    });
    expect(crashes).toBeGreaterThan(0);
    expect(failures[0]).toMatchObject({ decoder: "x", kind: "crash" });
    expect(failures[0]?.detail).toContain("x is undefined");
    expect(failures[0]?.inputHex.length).toBe(10);
  });

  test("room made for a length before its bytes are there is an over-allocation", () => {
    const { overAllocations } = run((bytes) => {
      const claimed = new DataView(bytes.buffer).byteLength > 4 ? (bytes[1] ?? 0) * 30_000 : 0;
      if (new Uint8Array(claimed).length > bytes.length) throw new RejectedError("TRUNCATED", "");
      return sound(bytes);
    });
    expect(overAllocations).toBeGreaterThan(0);
  });

  test("a value with two encodings is another encoding", () => {
    const { mismatches } = run((bytes) => {
      const known = bytes.subarray(0, Math.min(bytes.length, 7));
      return sound(known); // trailing bytes are let pass
    });
    expect(mismatches).toBeGreaterThan(0);
  });

  test("a decoder that writes into its input is a crash", () => {
    const { crashes } = run((bytes) => {
      bytes.reverse();
      throw new RejectedError("TRUNCATED", "");
    });
    expect(crashes).toBeGreaterThan(0);
  });
});

test("a mutation changes a copy, by a little or by a lot, and most of the time", () => {
  const rng = seededRng(5, "mutation");
  const [bytes, other] = [new Uint8Array(50).fill(7), new Uint8Array(30).fill(9)];
  let changedCount = 0;
  for (let i = 0; i < 1000; i++) {
    if (!Buffer.from(mutated(bytes, other, rng)).equals(bytes)) changedCount++;
  }
  expect(bytes).toEqual(new Uint8Array(50).fill(7));
  expect(changedCount).toBeGreaterThan(850);
});

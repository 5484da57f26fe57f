import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Frame, frameHead, FrameReader } from "../../../node/network/frame.ts";
import { DEFAULT_NETWORK_LIMITS } from "../../../node/network/limits.ts";
import type { PeerMessage } from "../../../node/network/message.ts";
import { decodeMessage, encodeMessage, messageLimit } from "../../../node/network/wire.ts";
import { concatBytes } from "../../../protocol/base/bytes.ts";
import { RejectedError } from "../../../protocol/base/errors.ts";
import { seededRng } from "../../../tokenizers/random.ts";

const u32 = (): fc.Arbitrary<number> => fc.nat(2 ** 32 - 1);
const count = (): fc.Arbitrary<number> => fc.maxSafeNat();
const bytes = (): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: 300 });
const parts = (): fc.Arbitrary<Uint8Array[]> => fc.array(bytes(), { maxLength: 5 });
const ref = (): fc.Arbitrary<{ round: number; author: number; digest: Uint8Array }> =>
  fc.record({
    round: u32(),
    author: fc.nat(0xffff),
    digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  });

const message = (): fc.Arbitrary<PeerMessage> =>
  fc.oneof(
    fc.record({ kind: fc.constant("subscribe" as const), aboveRound: u32() }),
    fc.record({ kind: fc.constant("blocks" as const), blocks: parts() }),
    fc.record({
      kind: fc.constant("fetchBlocks" as const),
      request: count(),
      refs: fc.array(ref(), { maxLength: 5 }),
    }),
    fc.record({ kind: fc.constant("fetchedBlocks" as const), request: count(), blocks: parts() }),
    fc.record({
      kind: fc.constant("fetchCommits" as const),
      request: count(),
      fromIndex: count(),
      toIndex: count(),
    }),
    fc.record({
      kind: fc.constant("fetchedCommits" as const),
      request: count(),
      commits: parts(),
      certifiers: parts(),
    }),
    fc.record({ kind: fc.constant("askOwnBlock" as const) }),
    fc.record({
      kind: fc.constant("ownBlock" as const),
      block: fc.option(bytes(), { nil: undefined }),
    }),
  );

function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, inner: unknown) =>
      inner instanceof Uint8Array ? Buffer.from(inner).toString("hex") : inner,
    ),
  ) as unknown;
}

/** All frames of the bytes, which come in pieces. */
function framesOf(stream: Uint8Array, pieces: readonly number[]): readonly Frame[] {
  const reader = new FrameReader(messageLimit(DEFAULT_NETWORK_LIMITS));
  const frames: Frame[] = [];
  let at = 0;
  for (let i = 0; at < stream.length; i++) {
    const end = at + 1 + (pieces[i % pieces.length] ?? 0);
    reader.push(stream.slice(at, end));
    at = end;
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
  }
  expect(reader.isInside).toBe(false);
  return frames;
}

/** One message as a frame. */
function frameOf(parted: readonly Uint8Array[]): Frame {
  const whole = concatBytes(...parted);
  return { type: whole[4] ?? 0, body: whole.slice(5) };
}

describe("messages on the wire", () => {
  test("come out as they went in, however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(message(), { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(500), { minLength: 1, maxLength: 8 }),
        (messages, pieces) => {
          const stream = concatBytes(...messages.flatMap(encodeMessage));
          expect(framesOf(stream, pieces).map(decodeMessage).map(plain)).toEqual(
            messages.map(plain),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test("blocks are not copied: the sender's bytes are a part, the receiver's are a view", () => {
    const block = new Uint8Array(5000).fill(3);
    const sent = encodeMessage({ kind: "blocks", blocks: [block] });
    expect(sent).toContain(block);
    const frame = frameOf(sent);
    const got = decodeMessage(frame);
    if (got.kind !== "blocks") throw new Error("it is of blocks");
    expect(got.blocks[0]?.buffer).toBe(frame.body.buffer);
  });

  test("a body that differs in any byte is another message or an error, and never anything else", () => {
    fc.assert(
      fc.property(message(), fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, place, change) => {
        const frame = frameOf(encodeMessage(sent));
        fc.pre(frame.body.length > 0);
        const body = frame.body.slice();
        const at = place % body.length;
        body[at] = (body[at] ?? 0) ^ change;
        const again = decodedOrRejected({ type: frame.type, body });
        if (again === undefined) return;
        expect(plain(again)).not.toEqual(plain(sent));
        expect(frameOf(encodeMessage(again)).body).toEqual(body); // one value has one encoding
      }),
      { numRuns: 2000 },
    );
  });

  test("random bytes of every type are decoded or refused, within their own size", () => {
    fc.assert(
      fc.property(fc.nat(255), fc.uint8Array({ maxLength: 200 }), (type, body) => {
        const decoded = decodedOrRejected({ type, body });
        if (decoded !== undefined) expect(frameOf(encodeMessage(decoded)).body).toEqual(body);
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    ["a byte too many", "subscribe", [1, 0, 0, 0, 9], "TRAILING_BYTES"],
    ["a byte too few", "subscribe", [1, 0, 0], "TRUNCATED"],
    ["a length that is not minimal", "blocks", [0x81, 0x00, 0], "LENGTH_NOT_CANONICAL"],
    ["more blocks than there are bytes", "blocks", [0xe7, 0x07], "TRUNCATED"],
    ["more blocks than a message may have", "blocks", [0xe9, 0x07], "LENGTH_OVER_LIMIT"],
    ["a block longer than the message", "blocks", [1, 200, 1, 7, 7], "TRUNCATED"],
    ["a bool of 2", "ownBlock", [2], "BAD_BOOL"],
    [
      "a number above 2^53",
      "fetchCommits",
      [255, 255, 255, 255, 255, 255, 255, 255],
      "INTEGER_TOO_LARGE",
    ],
  ] as const)("%s is refused: %s %j is %s", (_what, kind, body, code) => {
    const type = ["subscribe", "blocks", "fetchBlocks", "fetchedBlocks", "fetchCommits"].indexOf(
      kind,
    );
    const frame = { type: kind === "ownBlock" ? 7 : type, body: Uint8Array.from(body) };
    expect(() => decodeMessage(frame)).toThrow(expect.objectContaining({ code }) as Error);
  });
});

describe("frames", () => {
  const limits = messageLimit(DEFAULT_NETWORK_LIMITS);

  test.each([
    ["a control frame over 64 KiB", frameHead(0, 64 * 1024 + 1), "LENGTH_OVER_LIMIT"],
    ["a data frame over its limit", frameHead(1, 9 * 1024 * 1024 + 1), "LENGTH_OVER_LIMIT"],
    ["a length of 4 GiB", Uint8Array.of(255, 255, 255, 255, 1), "LENGTH_OVER_LIMIT"],
    ["a frame without a type", Uint8Array.of(0, 0, 0, 0, 1), "TRUNCATED"],
    ["a type that does not exist", frameHead(8, 0), "UNKNOWN_VARIANT"],
    ["a handshake in the middle", frameHead(240, 0), "UNKNOWN_VARIANT"],
  ])("%s is refused by its head alone, before anything is allocated", (_what, head, code) => {
    const reader = new FrameReader(limits);
    reader.push(head);
    expect(() => reader.next()).toThrow(expect.objectContaining({ code }) as Error);
  });

  test("a length alone takes no more than a first buffer, and the buffer no more than four times what came", () => {
    const reader = new FrameReader(limits);
    const bufferBytes = (): number => process.memoryUsage().arrayBuffers;
    const chunk = new Uint8Array(64 * 1024);
    const start = bufferBytes();
    reader.push(frameHead(1, 9 * 1024 * 1024));
    expect(reader.next()).toBeUndefined();
    expect(bufferBytes() - start).toBeLessThan(200_000);
    for (let received = chunk.length; received <= 1024 * 1024; received += chunk.length) {
      reader.push(chunk);
      expect(reader.next()).toBeUndefined();
      // The buffer, and at most the smaller ones that are not collected yet.
      expect(bufferBytes() - start).toBeLessThan(200_000 + 6 * received);
    }
  });

  test("a large frame comes out as it went in, in a buffer of its own size", () => {
    const rng = seededRng(1, "large frame");
    const body = Uint8Array.from({ length: 700_001 }, (_, i) => (i * 31) & 255);
    const stream = concatBytes(frameHead(1, body.length), body, frameHead(6, 0));
    const reader = new FrameReader(limits);
    const frames: Frame[] = [];
    for (let at = 0; at < stream.length;) {
      const end = at + 1 + rng.uniform(100_000);
      reader.push(stream.subarray(at, end));
      at = end;
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
        frames.push(frame);
      }
    }
    expect(frames.map(({ type }) => type)).toEqual([1, 6]);
    expect(Buffer.compare(frames[0]?.body ?? new Uint8Array(), body)).toBe(0);
    expect(frames[0]?.body.buffer.byteLength).toBe(body.length);
  });

  test("a frame is a copy: whoever changes what he sent changes nothing", () => {
    const chunk = concatBytes(...encodeMessage({ kind: "blocks", blocks: [new Uint8Array(9)] }));
    const reader = new FrameReader(limits);
    reader.push(chunk);
    const frame = reader.next();
    chunk.fill(0xff);
    expect(frame?.body).toEqual(Uint8Array.of(1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  });

  test("a frame of the very limit passes", () => {
    const reader = new FrameReader(limits);
    reader.push(frameHead(0, 64 * 1024));
    reader.push(new Uint8Array(64 * 1024));
    expect(reader.next()?.body.length).toBe(64 * 1024);
  });
});

function decodedOrRejected(frame: Frame): PeerMessage | undefined {
  try {
    return decodeMessage(frame);
  } catch (error) {
    if (error instanceof RejectedError) return undefined;
    throw error;
  }
}

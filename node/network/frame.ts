/**
 * Frames on a stream: length u32 (little-endian, of what follows it), type u8, body. The length is held against the
 * limit of its type before anything is allocated, and then the buffer grows with what comes: a length alone costs
 * nothing. A body ends up in a buffer of its own, so that what is read from it may be kept without copying.
 */
import { RejectedError } from "../../protocol/base/errors.ts";

export const FRAME_HEAD_BYTES = 5;

/** First size of a body's buffer, and how much larger it becomes when it is full: few frames are copied more than once. */
const BODY_BYTES_FIRST = 64 * 1024;
const BODY_GROWTH = 4;

export interface Frame {
  readonly type: number;
  readonly body: Uint8Array;
}

/** Most bytes that a body of this type may have; undefined: there is no such type. */
export type FrameLimit = (type: number) => number | undefined;

export function frameHead(type: number, bodyBytes: number): Uint8Array {
  const head = new Uint8Array(FRAME_HEAD_BYTES);
  new DataView(head.buffer).setUint32(0, bodyBytes + 1, true);
  head[4] = type;
  return head;
}

/** Chunks in, frames out, when they are asked for: whoever reads may stop in the middle of a chunk. */
export class FrameReader {
  private chunks: Uint8Array[] = [];
  /** In the first chunk. */
  private offset = 0;
  private readonly head = new Uint8Array(FRAME_HEAD_BYTES);
  private headCount = 0;
  /** Of the frame that has begun: what there is room for so far, how much of it has come, how much will. */
  private body: Uint8Array | undefined;
  private bodyCount = 0;
  private bodyLength = 0;
  private limit: FrameLimit;

  constructor(limit: FrameLimit) {
    this.limit = limit;
  }

  /** A frame has begun and not ended. */
  get isInside(): boolean {
    return this.headCount > 0;
  }

  /** From the next frame on. */
  setLimit(limit: FrameLimit): void {
    this.limit = limit;
  }

  push(chunk: Uint8Array): void {
    this.chunks.push(chunk);
  }

  /** The next whole frame, if it is here. @throws RejectedError LENGTH_OVER_LIMIT, UNKNOWN_VARIANT, TRUNCATED */
  next(): Frame | undefined {
    if (this.body === undefined) {
      this.headCount += this.take(this.head, this.headCount);
      if (this.headCount < FRAME_HEAD_BYTES) return undefined;
      this.bodyLength = this.readHead();
      this.body = bodyBuffer(Math.min(this.bodyLength, BODY_BYTES_FIRST));
    }
    let { body } = this;
    for (;;) {
      this.bodyCount += this.take(body, this.bodyCount);
      if (this.bodyCount < body.length) return undefined;
      if (this.bodyCount === this.bodyLength) break;
      const larger = bodyBuffer(Math.min(this.bodyLength, BODY_GROWTH * body.length));
      larger.set(body);
      this.body = body = larger;
    }
    const frame = { type: this.head[4] ?? 0, body };
    this.headCount = 0;
    this.body = undefined;
    this.bodyCount = 0;
    return frame;
  }

  /** @returns length of the body */
  private readHead(): number {
    const length = new DataView(this.head.buffer).getUint32(0, true);
    const type = this.head[4] ?? 0;
    const limit = this.limit(type);
    if (length === 0) throw new RejectedError("TRUNCATED", "a frame without a type");
    if (limit === undefined) throw new RejectedError("UNKNOWN_VARIANT", `no frame of type ${type}`);
    if (length - 1 > limit) {
      throw new RejectedError(
        "LENGTH_OVER_LIMIT",
        `a frame of type ${type} with ${length - 1} bytes, at most ${limit}`,
      );
    }
    return length - 1;
  }

  /** Fill `target` from `start` on with what has come. @returns how many bytes */
  private take(target: Uint8Array, start: number): number {
    let count = 0;
    while (start + count < target.length) {
      const [chunk] = this.chunks;
      if (chunk === undefined) break;
      const part = chunk.subarray(this.offset, this.offset + target.length - start - count);
      target.set(part, start + count);
      count += part.length;
      this.offset += part.length;
      if (this.offset < chunk.length) break;
      this.chunks.shift();
      this.offset = 0;
    }
    return count;
  }
}

/** Not from Node's pool, which a kept block would hold whole; not zeroed: every byte is written before it is read. */
function bodyBuffer(length: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

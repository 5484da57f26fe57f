/**
 * One socket: first a handshake, then messages. What a peer sends is bounded in size, in rate, in the time a frame may
 * take and in the bytes that wait to be dealt with; what waits to be sent to it is bounded too. Whoever passes a rate is
 * read later, whoever breaks a form is closed and blamed.
 */
import type { Socket } from "node:net";
import { RejectedError, type RejectionCode } from "../../protocol/base/errors.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { TransportFault } from "../runtime/ports.ts";
import { type Frame, FRAME_HEAD_BYTES, FrameReader } from "./frame.ts";
import { type Handshake, handshakeLimit, type Refusal } from "./handshake.ts";
import type { NetworkLimits } from "./limits.ts";
import type { PeerMessage } from "./message.ts";
import { TokenBucket } from "./token-bucket.ts";
import { decodeMessage, encodeMessage, messageLimit } from "./wire.ts";

export interface ConnectionHandler {
  /** The handshake is done. */
  known(connection: Connection, peer: AuthorityIndex): void;
  received(peer: AuthorityIndex, message: PeerMessage, release: () => void): void;
  /** After a `send` that was refused there is room again. */
  writable(peer: AuthorityIndex): void;
  /** The other side broke a rule; `peer` is undefined if it is not known who that is. The connection is closed next. */
  misbehaved(connection: Connection, code: RejectionCode | TransportFault, detail: string): void;
  /** One of the two sides does not want to talk to the other, without blame. */
  refused(connection: Connection, reason: Refusal): void;
  /** Once, last. */
  closed(connection: Connection): void;
}

export interface ConnectionOptions {
  readonly socket: Socket;
  readonly handshake: Handshake;
  readonly limits: NetworkLimits;
  readonly handler: ConnectionHandler;
}

export class Connection {
  /** For logs and bans. */
  readonly address: string;
  private readonly options: ConnectionOptions;
  private readonly socket: Socket;
  private readonly reader: FrameReader;
  private readonly rate: TokenBucket;
  private knownPeer: AuthorityIndex | undefined;
  private frameTimer: NodeJS.Timeout | undefined;
  private rateTimer: NodeJS.Timeout | undefined;
  private stallTimer: NodeJS.Timeout | undefined;
  /** Received and not dealt with. */
  private receivedBytes = 0;
  /** Messages that have left, now and when it was looked last. */
  private sentCount = 0;
  private sentBefore = -1;
  /** A frame that is read and has to wait for the peer's rate. */
  private held: Frame | undefined;
  private wasRefused = false;
  private isReading = false;
  private isClosed = false;

  constructor(options: ConnectionOptions) {
    const { socket, limits, handshake } = options;
    this.options = options;
    this.socket = socket;
    this.address = socket.remoteAddress ?? "";
    this.reader = new FrameReader(handshakeLimit(limits));
    this.rate = new TokenBucket(
      { perSecond: limits.messagesPerSecond, burst: limits.messagesBurst },
      performance.now(),
    );
    socket.on("data", (chunk) => {
      this.reader.push(chunk);
      this.read();
    });
    socket.on("error", () => undefined); // "close" follows, and says it
    socket.on("close", () => {
      this.close();
    });
    // The whole handshake is one frame, as far as time goes.
    this.frameTimer = this.startFrameTimer();
    this.write(handshake.begin());
  }

  /** Undefined before the handshake is done. */
  get peer(): AuthorityIndex | undefined {
    return this.knownPeer;
  }

  /** @returns false if too much waits already */
  send(message: PeerMessage): boolean {
    const parts = encodeMessage(message);
    const sizeBytes = parts.reduce((sum, { length }) => sum + length, 0);
    const waitingBytes = this.socket.writableLength;
    const isFull =
      waitingBytes > 0 && waitingBytes + sizeBytes > this.options.limits.sendQueueBytesMax;
    if (this.isClosed || isFull) {
      this.wasRefused = true;
      return false;
    }
    this.write(parts);
    return true;
  }

  /** Nothing is received or sent any more. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.frameTimer);
    clearTimeout(this.rateTimer);
    clearTimeout(this.stallTimer);
    this.socket.destroy();
    this.options.handler.closed(this);
  }

  // ---- in ----

  /** Take frames as long as it may be read; then stop the socket, or go on listening to it. */
  private read(): void {
    if (this.isReading) return; // a message was dealt with at once: the loop below goes on
    this.isReading = true;
    try {
      while (this.mayTake()) {
        const frame = this.held ?? this.reader.next();
        this.held = undefined;
        if (frame === undefined) break;
        if (this.knownPeer === undefined) this.shakeHands(frame);
        else if (this.hasToken(frame)) this.receive(this.knownPeer, frame);
      }
    } catch (error) {
      if (!(error instanceof RejectedError)) throw error;
      this.blame(error.code, error.message);
    } finally {
      this.isReading = false;
    }
    this.watch();
  }

  private mayTake(): boolean {
    if (this.isClosed || this.socket.writableEnded || this.rateTimer !== undefined) return false;
    return this.receivedBytes <= this.options.limits.receiveQueueBytesMax;
  }

  /** One message more of this peer's rate; if there is none, the frame is held until there is. */
  private hasToken(frame: Frame): boolean {
    const waitMs = this.rate.take(performance.now());
    if (waitMs === 0) return true;
    this.held = frame;
    this.rateTimer = setTimeout(() => {
      this.rateTimer = undefined;
      this.read();
    }, waitMs);
    return false;
  }

  private receive(peer: AuthorityIndex, frame: Frame): void {
    const message = decodeMessage(frame);
    const sizeBytes = FRAME_HEAD_BYTES + frame.body.length;
    this.receivedBytes += sizeBytes;
    this.stopFrameTimer();
    this.options.handler.received(peer, message, () => {
      this.receivedBytes -= sizeBytes;
      if (!this.isClosed) this.read();
    });
  }

  private shakeHands(frame: Frame): void {
    const step = this.options.handshake.take(frame);
    switch (step.kind) {
      case "send":
        this.write(step.frame);
        return;
      case "done":
        this.knownPeer = step.peer;
        this.stopFrameTimer();
        this.reader.setLimit(messageLimit(this.options.limits));
        this.options.handler.known(this, step.peer);
        return;
      case "refuse":
        this.write(step.frame);
        this.socket.end();
        this.options.handler.refused(this, step.reason);
        return;
      case "refused":
        this.options.handler.refused(this, step.reason);
        this.close();
        return;
    }
  }

  /** After reading: is it we who wait, or the other side that owes the rest of a frame? */
  private watch(): void {
    if (this.isClosed) return;
    if (this.mayTake()) {
      if (this.socket.isPaused()) this.socket.resume();
      if (this.reader.isInside) this.frameTimer ??= this.startFrameTimer();
    } else {
      this.socket.pause();
      if (this.knownPeer !== undefined) this.stopFrameTimer();
    }
  }

  private startFrameTimer(): NodeJS.Timeout {
    const { frameTimeoutMs } = this.options.limits;
    return setTimeout(() => {
      this.blame("FRAME_TIMEOUT", `a frame not ended within ${frameTimeoutMs} ms`);
    }, frameTimeoutMs);
  }

  private stopFrameTimer(): void {
    clearTimeout(this.frameTimer);
    this.frameTimer = undefined;
  }

  private blame(code: RejectionCode | TransportFault, detail: string): void {
    if (this.isClosed) return;
    this.options.handler.misbehaved(this, code, detail);
    this.close();
  }

  // ---- out ----

  /** The parts in one system call; they are not copied, and nobody may change them. */
  private write(parts: readonly Uint8Array[]): void {
    this.socket.cork();
    parts.forEach((part, i) => {
      if (i < parts.length - 1) this.socket.write(part);
      else {
        this.socket.write(part, () => {
          this.sentCount++;
          this.makeRoom();
        });
      }
    });
    this.socket.uncork();
    this.stallTimer ??= setInterval(() => {
      this.checkStall();
    }, this.options.limits.sendStallMs).unref();
  }

  /** Once in a while: with messages waiting, at least one has left since the last time. */
  private checkStall(): void {
    const hasStalled = this.socket.writableLength > 0 && this.sentCount === this.sentBefore;
    this.sentBefore = this.sentCount;
    if (hasStalled) this.close();
  }

  private makeRoom(): void {
    if (!this.wasRefused || this.knownPeer === undefined || this.isClosed) return;
    if (this.socket.writableLength > this.options.limits.sendQueueBytesMax / 2) return;
    this.wasRefused = false;
    this.options.handler.writable(this.knownPeer);
  }
}

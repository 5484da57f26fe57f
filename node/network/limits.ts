/**
 * Limits of a transport, each on something that a stranger or a peer could else make grow. Source: guides: faults, 4.4
 * "framing", whose figures are upper bounds; ours are tighter where a validator needs less.
 */
import type { Milliseconds } from "../../protocol/base/effects.ts";

export interface NetworkLimits {
  /** Of one frame before the peer is known. */
  readonly handshakeFrameBytesMax: number;
  /** Of requests, which are short. */
  readonly controlFrameBytesMax: number;
  /** Of blocks and answers: an answer's blocks, with one that passes the limit. */
  readonly dataFrameBytesMax: number;
  /** From the first byte of a frame, or of a handshake, to its last. */
  readonly frameTimeoutMs: Milliseconds;
  /** Messages of one peer: so many a second for ever, and so many at once after a pause. More are read later. */
  readonly messagesPerSecond: number;
  readonly messagesBurst: number;
  /** Connections, those included whose peer is not known yet. */
  readonly connectionsMax: number;
  readonly unknownConnectionsMax: number;
  /** New connections a second from one address (at most, at once, as well). */
  readonly connectionsPerAddressPerSecond: number;
  /** This machine's own addresses are not counted and not refused. */
  readonly isLoopbackExempt: boolean;
  /** Bytes that wait to be sent to one peer: then `send` refuses. */
  readonly sendQueueBytesMax: number;
  /** Bytes received from one peer and not dealt with: then nothing more is read. */
  readonly receiveQueueBytesMax: number;
  /** With bytes waiting to be sent, and none sent for so long, the connection is given up. */
  readonly sendStallMs: Milliseconds;
  /** Before the next attempt to connect: doubled from the first to the second after each failure. */
  readonly reconnectMinMs: Milliseconds;
  readonly reconnectMaxMs: Milliseconds;
  /** How long an address is refused after it sent garbage in place of a handshake. */
  readonly addressBanMs: Milliseconds;
}

export const DEFAULT_NETWORK_LIMITS: NetworkLimits = Object.freeze({
  handshakeFrameBytesMax: 1024,
  controlFrameBytesMax: 64 * 1024,
  dataFrameBytesMax: 9 * 1024 * 1024,
  frameTimeoutMs: 10_000,
  messagesPerSecond: 100,
  messagesBurst: 200,
  connectionsMax: 300,
  unknownConnectionsMax: 64,
  connectionsPerAddressPerSecond: 5,
  isLoopbackExempt: true,
  sendQueueBytesMax: 8 * 1024 * 1024,
  receiveQueueBytesMax: 16 * 1024 * 1024,
  sendStallMs: 10_000,
  reconnectMinMs: 100,
  reconnectMaxMs: 10_000,
  addressBanMs: 60_000,
});

export function networkLimits(changes: Partial<NetworkLimits> = {}): NetworkLimits {
  return Object.freeze({ ...DEFAULT_NETWORK_LIMITS, ...changes });
}

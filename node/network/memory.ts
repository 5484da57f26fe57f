/**
 * Validators of one process, joined in memory: a message is handed over as the object it is, in a later turn of the
 * event loop, with the same limits on what waits as on a socket.
 */
import { present } from "../../base/errors.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { Network, NetworkHandler } from "../runtime/ports.ts";
import { DEFAULT_NETWORK_LIMITS, type NetworkLimits } from "./limits.ts";
import { messageBytes, type PeerMessage } from "./message.ts";

interface Link {
  waitingBytes: number;
  wasRefused: boolean;
}

/** All validators that can reach each other. */
export class MemoryHub {
  private readonly limits: NetworkLimits;
  private readonly endpoints = new Map<AuthorityIndex, MemoryNetwork>();
  private deliveries: (() => void)[] = [];

  constructor(limits: NetworkLimits = DEFAULT_NETWORK_LIMITS) {
    this.limits = limits;
  }

  /** The network as this validator has it. One at a time for each. */
  endpoint(index: AuthorityIndex): Network {
    return new MemoryNetwork(this, index, this.limits);
  }

  join(index: AuthorityIndex, endpoint: MemoryNetwork): void {
    const others = [...this.endpoints];
    this.endpoints.set(index, endpoint);
    this.soon(() => {
      for (const [peer, other] of others) {
        other.link(index);
        endpoint.link(peer);
      }
    });
  }

  leave(index: AuthorityIndex): void {
    if (!this.endpoints.delete(index)) return;
    for (const other of this.endpoints.values()) {
      this.soon(() => {
        other.unlink(index);
      });
    }
  }

  at(index: AuthorityIndex): MemoryNetwork | undefined {
    return this.endpoints.get(index);
  }

  /** In a later turn of the event loop, in order. */
  soon(run: () => void): void {
    this.deliveries.push(run);
    if (this.deliveries.length > 1) return;
    setImmediate(() => {
      const due = this.deliveries;
      this.deliveries = [];
      for (const each of due) each();
    });
  }
}

class MemoryNetwork implements Network {
  private readonly hub: MemoryHub;
  private readonly index: AuthorityIndex;
  private readonly limits: NetworkLimits;
  private handler: NetworkHandler | undefined;
  private readonly links = new Map<AuthorityIndex, Link>();
  private readonly banned = new Map<AuthorityIndex, NodeJS.Timeout>();

  constructor(hub: MemoryHub, index: AuthorityIndex, limits: NetworkLimits) {
    this.hub = hub;
    this.index = index;
    this.limits = limits;
  }

  start(handler: NetworkHandler): void {
    this.handler = handler;
    this.hub.join(this.index, this);
  }

  send(peer: AuthorityIndex, message: PeerMessage): boolean {
    const link = this.links.get(peer);
    if (link === undefined) return false;
    const sizeBytes = messageBytes(message);
    if (link.waitingBytes > 0 && link.waitingBytes + sizeBytes > this.limits.sendQueueBytesMax) {
      link.wasRefused = true;
      return false;
    }
    link.waitingBytes += sizeBytes;
    this.hub.soon(() => {
      const release = (): void => {
        this.released(peer, link, sizeBytes);
      };
      const other = this.hub.at(peer);
      if (other === undefined) release();
      else other.deliver(this.index, message, release);
    });
    return true;
  }

  ban(peer: AuthorityIndex, forMs: number): void {
    clearTimeout(this.banned.get(peer));
    const end = setTimeout(() => {
      this.banned.delete(peer);
      const other = this.hub.at(peer);
      if (other === undefined) return;
      other.link(this.index);
      this.link(peer);
    }, forMs);
    this.banned.set(peer, end);
    this.hub.soon(() => {
      this.unlink(peer);
      this.hub.at(peer)?.unlink(this.index);
    });
  }

  stop(): void {
    for (const end of this.banned.values()) clearTimeout(end);
    this.handler = undefined;
    this.links.clear();
    this.hub.leave(this.index);
  }

  link(peer: AuthorityIndex): void {
    if (this.handler === undefined || this.banned.has(peer) || this.links.has(peer)) return;
    this.links.set(peer, { waitingBytes: 0, wasRefused: false });
    this.handler.connected(peer);
  }

  unlink(peer: AuthorityIndex): void {
    if (this.links.delete(peer)) this.handler?.disconnected(peer);
  }

  private deliver(from: AuthorityIndex, message: PeerMessage, release: () => void): void {
    if (this.handler === undefined || !this.links.has(from)) release();
    else this.handler.received(from, message, release);
  }

  private released(peer: AuthorityIndex, link: Link, sizeBytes: number): void {
    link.waitingBytes -= sizeBytes;
    const isRoomy = link.waitingBytes <= this.limits.sendQueueBytesMax / 2;
    if (!link.wasRefused || !isRoomy || this.links.get(peer) !== link) return;
    link.wasRefused = false;
    present(this.handler, "a linked endpoint has a handler").writable(peer);
  }
}

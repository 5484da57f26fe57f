/** A network whose messages take longer: what a wide area would add, for measurements on one machine. Order is kept. */
import type { Milliseconds } from "../../protocol/base/effects.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { Network, NetworkHandler } from "../runtime/ports.ts";
import type { PeerMessage } from "./message.ts";

interface Held {
  readonly from: AuthorityIndex;
  readonly message: PeerMessage;
  readonly release: () => void;
  readonly dueAt: Milliseconds;
}

export class DelayedNetwork implements Network {
  private readonly inner: Network;
  private readonly delayMs: Milliseconds;
  private held: Held[] = [];
  private timer: NodeJS.Timeout | undefined;

  /** @param delayMs one way */
  constructor(inner: Network, delayMs: Milliseconds) {
    this.inner = inner;
    this.delayMs = delayMs;
  }

  start(handler: NetworkHandler): void {
    this.inner.start({
      connected: (peer) => {
        handler.connected(peer);
      },
      disconnected: (peer) => {
        for (const { from, release } of this.held) if (from === peer) release();
        this.held = this.held.filter(({ from }) => from !== peer);
        handler.disconnected(peer);
      },
      writable: (peer) => {
        handler.writable(peer);
      },
      misbehaved: (peer, code, detail) => {
        handler.misbehaved(peer, code, detail);
      },
      received: (from, message, release) => {
        this.held.push({ from, message, release, dueAt: performance.now() + this.delayMs });
        this.timer ??= this.wait(this.delayMs, handler);
      },
    });
  }

  send(peer: AuthorityIndex, message: PeerMessage): boolean {
    return this.inner.send(peer, message);
  }

  ban(peer: AuthorityIndex, forMs: Milliseconds): void {
    this.inner.ban(peer, forMs);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.held = [];
    this.inner.stop();
  }

  private wait(delayMs: Milliseconds, handler: NetworkHandler): NodeJS.Timeout {
    return setTimeout(() => {
      this.timer = undefined;
      const now = performance.now();
      for (let next = this.held[0]; next !== undefined; next = this.held[0]) {
        if (next.dueAt > now) {
          this.timer ??= this.wait(next.dueAt - now, handler);
          return;
        }
        this.held.shift();
        handler.received(next.from, next.message, next.release);
      }
    }, delayMs);
  }
}

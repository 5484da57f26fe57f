/** Requests sent and not answered, by the peer that was asked. */
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { RequestId } from "../../protocol/consensus/events.ts";
import { OPEN_REQUESTS_PER_PEER_MAX } from "./limits.ts";

export class OpenRequests {
  private readonly byPeer = new Map<AuthorityIndex, Set<RequestId>>();

  /** The oldest is forgotten when there are too many: the core has long given it up. */
  add(peer: AuthorityIndex, request: RequestId): void {
    const open = this.byPeer.get(peer) ?? new Set();
    this.byPeer.set(peer, open);
    open.add(request);
    if (open.size <= OPEN_REQUESTS_PER_PEER_MAX) return;
    for (const oldest of open) {
      open.delete(oldest);
      return;
    }
  }

  /** @returns whether this peer was asked and has not answered yet */
  take(peer: AuthorityIndex, request: RequestId): boolean {
    return this.byPeer.get(peer)?.delete(request) ?? false;
  }

  takeAll(peer: AuthorityIndex): readonly RequestId[] {
    const open = [...(this.byPeer.get(peer) ?? [])];
    this.byPeer.delete(peer);
    return open;
  }
}

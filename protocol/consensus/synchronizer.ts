/**
 * Fetches blocks that others refer to and nobody has sent: first from the one who referred to them, then from their
 * author, then from everybody in turn; from two peers at a time at most, and never at once: what is missed is mostly on
 * its way already. Source: guides: consensus, 3.9 and 6.2.
 */
import { present } from "../../base/errors.ts";
import type { Milliseconds } from "../base/effects.ts";
import type { ConsensusParameters } from "../base/parameters.ts";
import { type AuthorityIndex, type BlockRef, refKey } from "./block.ts";
import type { RequestId } from "./events.ts";

export interface BlockRequest {
  readonly request: RequestId;
  readonly peer: AuthorityIndex;
  readonly refs: readonly BlockRef[];
}

interface FetchState {
  /** Who referred to it. */
  readonly from: AuthorityIndex;
  attempts: number;
  inFlight: number;
  dueAt: Milliseconds;
}

interface OpenRequest {
  readonly peer: AuthorityIndex;
  readonly refs: ReadonlyMap<string, BlockRef>;
  readonly deadline: Milliseconds;
}

export interface SynchronizerOptions {
  readonly peerCount: number;
  readonly ownIndex: AuthorityIndex;
  readonly parameters: ConsensusParameters;
  /** What is missed at present, by key: the block manager's. */
  readonly wanted: ReadonlyMap<string, BlockRef>;
  readonly nextRequestId: () => RequestId;
}

export class Synchronizer {
  private readonly options: SynchronizerOptions;
  private readonly states = new Map<string, FetchState>();
  private readonly requests = new Map<RequestId, OpenRequest>();
  private readonly openByPeer: number[];
  private due: Milliseconds = Infinity;

  constructor(options: SynchronizerOptions) {
    this.options = options;
    this.openByPeer = Array.from({ length: options.peerCount }, () => 0);
  }

  /** When `tick` has something to do next; Infinity if never. */
  get dueAt(): Milliseconds {
    return this.due;
  }

  /** A block of `from` refers to these, which are not here. */
  miss(refs: readonly BlockRef[], from: AuthorityIndex, now: Milliseconds): void {
    const dueAt = now + this.options.parameters.fetchDelayMs;
    for (const ref of refs) {
      const key = refKey(ref);
      if (this.states.has(key)) continue;
      this.states.set(key, { from, attempts: 0, inFlight: 0, dueAt });
      this.due = Math.min(this.due, dueAt);
    }
  }

  /** What an answer may bring; undefined for an answer to no open request of ours. The request is closed. */
  close(request: RequestId, now: Milliseconds): OpenRequest | undefined {
    const open = this.requests.get(request);
    if (open === undefined) return undefined;
    this.requests.delete(request);
    this.openByPeer[open.peer] = (this.openByPeer[open.peer] ?? 1) - 1;
    for (const key of open.refs.keys()) {
      const state = this.states.get(key);
      if (state === undefined) continue;
      state.inFlight--;
      // What came is no longer wanted; what did not come is asked for elsewhere.
      state.dueAt = Math.min(state.dueAt, now + this.options.parameters.fetchDelayMs);
      this.due = Math.min(this.due, state.dueAt);
    }
    return open;
  }

  /** Give up on silent peers and ask for what is due. @param isPaused ask for nothing: commit sync does the work */
  tick(now: Milliseconds, isPaused: boolean): readonly BlockRequest[] {
    if (now < this.due) return [];
    const { wanted, parameters } = this.options;
    for (const [request, { deadline }] of this.requests) {
      if (deadline <= now) this.close(request, now);
    }
    for (const key of this.states.keys()) if (!wanted.has(key)) this.states.delete(key);
    const byPeer = new Map<AuthorityIndex, BlockRef[]>();
    this.due =
      wanted.size > 0 || this.requests.size > 0 ? now + parameters.synchronizeIntervalMs : Infinity;
    if (isPaused) return [];
    for (const [key, ref] of wanted) {
      const state = this.stateOf(key, ref, now);
      if (state.dueAt <= now) this.assign(ref, state, byPeer, now);
      this.due = Math.min(this.due, Math.max(state.dueAt, now + 1));
    }
    return [...byPeer].map(([peer, refs]) => this.open(peer, refs, now));
  }

  private stateOf(key: string, ref: BlockRef, now: Milliseconds): FetchState {
    const known = this.states.get(key);
    if (known !== undefined) return known;
    const made = { from: ref.author, attempts: 0, inFlight: 0, dueAt: now };
    this.states.set(key, made);
    return made;
  }

  /** Put the ref into a request to the next peer in its row that has room. */
  private assign(
    ref: BlockRef,
    state: FetchState,
    byPeer: Map<AuthorityIndex, BlockRef[]>,
    now: Milliseconds,
  ): void {
    const { parameters, peerCount } = this.options;
    state.dueAt = now + parameters.synchronizeIntervalMs;
    if (state.inFlight >= parameters.fetchPeersPerRefMax) return;
    for (let tried = 0; tried <= peerCount + 1; tried++) {
      const peer = this.peerFor(ref, state);
      if (peer === this.options.ownIndex) continue;
      const refs = byPeer.get(peer);
      const isFull =
        refs === undefined
          ? (this.openByPeer[peer] ?? 0) >= parameters.fetchRequestsPerPeerMax
          : refs.length >= parameters.fetchRefsMax;
      if (isFull) continue;
      if (refs === undefined) byPeer.set(peer, [ref]);
      else refs.push(ref);
      state.inFlight++;
      return;
    }
  }

  /** Who referred to it, who made it, then round and round. */
  private peerFor(ref: BlockRef, state: FetchState): AuthorityIndex {
    const attempt = state.attempts++;
    if (attempt === 0) return state.from;
    return (ref.author + attempt - 1) % this.options.peerCount;
  }

  private open(peer: AuthorityIndex, refs: readonly BlockRef[], now: Milliseconds): BlockRequest {
    const request = this.options.nextRequestId();
    this.requests.set(request, {
      peer,
      refs: new Map(refs.map((ref) => [refKey(ref), ref])),
      deadline: now + this.options.parameters.fetchTimeoutMs,
    });
    this.openByPeer[peer] = present(this.openByPeer[peer], "a peer of the committee") + 1;
    return { request, peer, refs };
  }
}

/**
 * Fetches blocks that others refer to and nobody has sent: first from those who referred to them, then from their
 * author, then from everybody in turn; of several the one that owes us the fewest answers, since a faulty one that keeps
 * its block back does not answer either. Never at once, what is missed is mostly on its way already, and one peer a
 * while: a silent one must not be waited for, or a few of them would set the pace of all. Source: guides: consensus, 3.9
 * and 6.2.
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
  /** Who referred to it: they have it, if they are honest. */
  readonly referrers: Set<AuthorityIndex>;
  /** Not to be asked again before the others were. */
  readonly asked: Set<AuthorityIndex>;
  dueAt: Milliseconds;
}

/** More than requests that one peer may have open. */
const RANK_STEP = 1_000_000;

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
      const known = this.states.get(key);
      if (known !== undefined) {
        known.referrers.add(from);
        known.asked.delete(from); // by now it must have it
        continue;
      }
      this.states.set(key, { referrers: new Set([from]), asked: new Set(), dueAt });
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
      const state = this.stateOf(key, now);
      if (state.dueAt <= now) this.assign(ref, state, byPeer, now);
      this.due = Math.min(this.due, Math.max(state.dueAt, now + 1));
    }
    return [...byPeer].map(([peer, refs]) => this.open(peer, refs, now));
  }

  private stateOf(key: string, now: Milliseconds): FetchState {
    const known = this.states.get(key);
    if (known !== undefined) return known;
    const made = {
      referrers: new Set<AuthorityIndex>(),
      asked: new Set<AuthorityIndex>(),
      dueAt: now,
    };
    this.states.set(key, made);
    return made;
  }

  /** Put the ref into a request to the best peer that has room. */
  private assign(
    ref: BlockRef,
    state: FetchState,
    byPeer: Map<AuthorityIndex, BlockRef[]>,
    now: Milliseconds,
  ): void {
    state.dueAt = now + this.options.parameters.synchronizeIntervalMs;
    let peer = this.peerFor(ref, state, byPeer);
    if (peer === undefined) {
      state.asked.clear(); // all were asked but those that have no room, as silent ones have not: begin again
      peer = this.peerFor(ref, state, byPeer);
    }
    if (peer === undefined) return;
    state.asked.add(peer);
    const refs = byPeer.get(peer);
    if (refs === undefined) byPeer.set(peer, [ref]);
    else refs.push(ref);
  }

  /** Of those that were not asked yet; undefined if none of them has room. */
  private peerFor(
    ref: BlockRef,
    state: FetchState,
    byPeer: ReadonlyMap<AuthorityIndex, readonly BlockRef[]>,
  ): AuthorityIndex | undefined {
    const { peerCount, ownIndex } = this.options;
    let best: AuthorityIndex | undefined;
    let bestRank = Infinity;
    for (let step = 0; step < peerCount; step++) {
      const peer = (ref.author + step) % peerCount;
      if (peer === ownIndex || state.asked.has(peer) || this.isFull(peer, byPeer)) continue;
      const group = state.referrers.has(peer) ? 0 : step === 0 ? 1 : 2;
      const rank = group * RANK_STEP + (this.openByPeer[peer] ?? 0);
      if (rank >= bestRank) continue;
      best = peer;
      bestRank = rank;
    }
    return best;
  }

  private isFull(
    peer: AuthorityIndex,
    byPeer: ReadonlyMap<AuthorityIndex, readonly BlockRef[]>,
  ): boolean {
    const { fetchRequestsPerPeerMax, fetchRefsMax } = this.options.parameters;
    const refs = byPeer.get(peer);
    return refs === undefined
      ? (this.openByPeer[peer] ?? 0) >= fetchRequestsPerPeerMax
      : refs.length >= fetchRefsMax;
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

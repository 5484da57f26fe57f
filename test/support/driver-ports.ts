/** Ports that a test turns by hand, and a core that answers what the test lays down. */
import { ConsensusDriver, type DriverNotice } from "../../node/runtime/driver.ts";
import type {
  Application,
  Clock,
  Network,
  NetworkHandler,
  Store,
  Watermark,
} from "../../node/runtime/ports.ts";
import type { PeerMessage } from "../../node/network/message.ts";
import { MemoryStore } from "../../node/storage/memory-store.ts";
import { consensusParameters } from "../../protocol/base/parameters.ts";
import type { ConsensusEffect, ConsensusEvent } from "../../protocol/consensus/events.ts";
import { PEER_COMMITTEE } from "./peers.ts";

export class HandClock implements Clock {
  time = 1000;
  private scheduled: { at: number; run: () => void }[] = [];

  now(): number {
    return this.time;
  }

  schedule(at: number, run: () => void): () => void {
    const timer = { at, run };
    this.scheduled.push(timer);
    return () => {
      this.scheduled = this.scheduled.filter((each) => each !== timer);
    };
  }

  /** Everything due until then, in order. */
  turnTo(time: number): void {
    for (;;) {
      const [next] = this.scheduled.filter(({ at }) => at <= time).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.scheduled = this.scheduled.filter((each) => each !== next);
      this.time = Math.max(this.time, next.at);
      next.run();
    }
    this.time = time;
  }
}

/** Takes what is sent, or refuses it. */
export class HandNetwork implements Network {
  readonly sent: { peer: number; message: PeerMessage }[] = [];
  readonly bans: number[] = [];
  readonly full = new Set<number>();
  handler: NetworkHandler | undefined;
  isStopped = false;

  start(handler: NetworkHandler): void {
    this.handler = handler;
  }

  send(peer: number, message: PeerMessage): boolean {
    if (this.full.has(peer)) return false;
    this.sent.push({ peer, message });
    return true;
  }

  ban(peer: number): void {
    this.bans.push(peer);
  }

  stop(): void {
    this.isStopped = true;
  }

  get peer(): NetworkHandler {
    if (this.handler === undefined) throw new Error("the driver listens");
    return this.handler;
  }

  /** Messages of this kind, to whom. */
  to(kind: PeerMessage["kind"]): readonly number[] {
    return this.sent.flatMap(({ peer, message }) => (message.kind === kind ? peer : []));
  }
}

/** A store in memory whose flushes the test answers. */
export class HandStore extends MemoryStore {
  readonly flushes: (() => void)[] = [];
  holds = false;
  isClosed = false;

  override flush(round: number | undefined, done: () => void): void {
    super.flush(round, () => undefined);
    if (this.holds) this.flushes.push(done);
    else done();
  }

  override close(): void {
    this.isClosed = true;
  }
}

/** Writes down what it applies. */
export class ListApplication implements Application {
  readonly applied: number[] = [];
  private readonly start: Watermark;

  constructor(start: Watermark = { index: 0, digest: PEER_COMMITTEE.genesisDigest }) {
    this.start = start;
  }

  restore(record: { index: number; digest: Uint8Array } | undefined): Watermark {
    return record !== undefined && record.index > this.start.index ? record : this.start;
  }

  apply(commit: { index: number }): Uint8Array {
    this.applied.push(commit.index);
    return Uint8Array.of(commit.index);
  }
}

export interface Bench {
  readonly driver: ConsensusDriver;
  readonly clock: HandClock;
  readonly network: HandNetwork;
  readonly store: HandStore;
  readonly application: ListApplication;
  readonly notices: DriverNotice[];
  /** As the core got them. */
  readonly events: ConsensusEvent[];
  /** What the next steps answer; nothing once it is used up. */
  readonly answers: (readonly ConsensusEffect[])[];
}

/** Validator 0 of four; not started. */
export function driverBench(
  parts: { readonly store?: HandStore; readonly application?: ListApplication } = {},
): Bench {
  const clock = new HandClock();
  const network = new HandNetwork();
  const store = parts.store ?? new HandStore();
  const application = parts.application ?? new ListApplication();
  const notices: DriverNotice[] = [];
  const events: ConsensusEvent[] = [];
  const answers: (readonly ConsensusEffect[])[] = [];
  const driver = new ConsensusDriver({
    committee: PEER_COMMITTEE,
    ownIndex: 0,
    parameters: consensusParameters(),
    makeCore: (recovered) => {
      Array.from(recovered.records); // a core reads its log
      return {
        step: (event) => {
          events.push(event);
          return answers.shift() ?? [];
        },
      };
    },
    clock,
    network,
    store: store satisfies Store,
    application,
    onNotice: (notice) => notices.push(notice),
  });
  return { driver, clock, network, store, application, notices, events, answers };
}

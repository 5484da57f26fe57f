/**
 * The network of a run: connections between validators over links that delay, lose, double, reorder, hold and cut. What
 * is sent is handed over as it is. All draws come from one generator, in the order of the sends.
 */
import { present } from "../../base/errors.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { Rng } from "../../tokenizers/random.ts";
import { messageBytes, type PeerMessage } from "../network/message.ts";
import type { NetworkHandler } from "../runtime/ports.ts";
import { type EventQueue, type Micros, MS, SECOND } from "./event-queue.ts";

/** How links behave when nothing is cut or held. */
export interface LinkModel {
  readonly name: string;
  /** Most messages take between `fromMs` and `toMs`. */
  readonly fromMs: number;
  readonly toMs: number;
  /** Of a million messages so many are spikes, and take between `spikeFromMs` and `spikeToMs`. */
  readonly spikesPerMillion: number;
  readonly spikeFromMs: number;
  readonly spikeToMs: number;
  readonly lostPerMillion: number;
  readonly doubledPerMillion: number;
  /** As in a stream: nothing overtakes. */
  readonly isOrdered: boolean;
}

export const CALM: LinkModel = {
  name: "10–20 ms",
  fromMs: 10,
  toMs: 20,
  spikesPerMillion: 0,
  spikeFromMs: 0,
  spikeToMs: 0,
  lostPerMillion: 0,
  doubledPerMillion: 0,
  isOrdered: true,
};

/** One way, from one validator to another. */
interface Link {
  /** How many faults cut it, and how many hold it, at present. */
  cuts: number;
  holds: number;
  readonly held: (() => void)[];
  /** When what was sent last arrives. */
  lastArrival: Micros;
}

/** Two validators that talk to each other. What belongs to an earlier connection never arrives. */
interface Pair {
  isConnected: boolean;
  connection: number;
  bannedUntil: Micros;
}

/** A validator's end of the network. */
export interface Endpoint {
  readonly handler: NetworkHandler;
  /** Let the validator do something: nothing if it is gone. */
  readonly enter: (run: () => void) => void;
}

export interface NetworkTraffic {
  readonly messages: number;
  readonly bytes: number;
}

export interface NetworkOptions {
  readonly queue: EventQueue;
  readonly rng: Rng;
  readonly size: number;
  readonly model: LinkModel;
  readonly onDelivery: (from: AuthorityIndex, to: AuthorityIndex, message: PeerMessage) => void;
  /** What is added to the delay of a message. */
  readonly lag: (from: AuthorityIndex, to: AuthorityIndex, message: PeerMessage) => Micros;
  /** Told of each message that is lost, sent twice or kept long, or overtakes another one. */
  readonly onMishap: (mishap: Mishap) => void;
}

/** By the names of the faults that bring them. */
type Mishap = "latency" | "loss" | "duplication" | "reorder";

const MILLION = 1_000_000;
/** A lost connection is tried again after up to so long. */
const RECONNECT_MAX: Micros = SECOND;
/** How soon a first connection is made, at most. */
const CONNECT_MAX: Micros = 20 * MS;
const NOTHING = (): void => undefined;

export class SimulatedNetwork {
  private readonly queue: EventQueue;
  private readonly rng: Rng;
  private readonly size: number;
  private readonly links: readonly Link[];
  private readonly pairs: readonly Pair[];
  private readonly endpoints: (Endpoint | undefined)[];
  private readonly onDelivery: NetworkOptions["onDelivery"];
  private readonly lag: NetworkOptions["lag"];
  private readonly onMishap: NetworkOptions["onMishap"];
  private model: LinkModel;
  private messages = 0;
  private bytes = 0;

  constructor(options: NetworkOptions) {
    this.queue = options.queue;
    this.rng = options.rng;
    this.size = options.size;
    this.model = options.model;
    this.onDelivery = options.onDelivery;
    this.lag = options.lag;
    this.onMishap = options.onMishap;
    this.endpoints = new Array<Endpoint | undefined>(options.size).fill(undefined);
    const places = Array.from({ length: options.size ** 2 });
    this.links = places.map(() => ({ cuts: 0, holds: 0, held: [], lastArrival: 0 }));
    this.pairs = places.map(() => ({ isConnected: false, connection: 0, bannedUntil: 0 }));
  }

  get traffic(): NetworkTraffic {
    return { messages: this.messages, bytes: this.bytes };
  }

  setModel(model: LinkModel): void {
    this.model = model;
  }

  // ---- validators come and go ----

  attach(index: AuthorityIndex, endpoint: Endpoint): void {
    this.endpoints[index] = endpoint;
    for (let peer = 0; peer < this.size; peer++) this.connectSoon(index, peer, CONNECT_MAX);
  }

  /** The validator is gone; its peers notice. */
  detach(index: AuthorityIndex): void {
    if (this.endpoints[index] === undefined) return;
    this.endpoints[index] = undefined;
    for (let peer = 0; peer < this.size; peer++) this.disconnect(index, peer);
  }

  /** @returns false if they are not connected */
  send(from: AuthorityIndex, to: AuthorityIndex, message: PeerMessage): boolean {
    const pair = this.pair(from, to);
    if (!pair.isConnected) return false;
    this.messages++;
    this.bytes += messageBytes(message);
    const { connection } = pair;
    this.transmit(this.link(from, to), this.lag(from, to, message), () => {
      if (pair.connection !== connection) return;
      this.onDelivery(from, to, message);
      this.tell(to, (handler) => {
        handler.received(from, message, NOTHING);
      });
    });
    return true;
  }

  ban(index: AuthorityIndex, peer: AuthorityIndex, forMs: number): void {
    this.pair(index, peer).bannedUntil = this.queue.now + forMs * MS;
    this.disconnect(index, peer);
  }

  // ---- faults ----

  /** What is sent over the link is lost; after a while the connection breaks. */
  cut(from: AuthorityIndex, to: AuthorityIndex): void {
    this.link(from, to).cuts++;
    const { connection } = this.pair(from, to);
    this.queue.after(this.rng.uniform(2 * SECOND), () => {
      if (this.pair(from, to).connection === connection) this.disconnect(from, to);
    });
  }

  /** Undo one `cut`. A stream that has lost something does not go on: the connection is made anew. */
  mend(from: AuthorityIndex, to: AuthorityIndex): void {
    if (--this.link(from, to).cuts === 0) this.disconnect(from, to);
  }

  /** What is sent over the link waits. */
  hold(from: AuthorityIndex, to: AuthorityIndex): void {
    this.link(from, to).holds++;
  }

  /** Undo one `hold`. */
  release(from: AuthorityIndex, to: AuthorityIndex): void {
    const link = this.link(from, to);
    if (--link.holds > 0) return;
    for (const deliver of link.held.splice(0)) this.carry(link, 0, deliver);
  }

  // ---- connections ----

  private connectSoon(a: AuthorityIndex, b: AuthorityIndex, within: Micros): void {
    if (a !== b)
      this.queue.after(1 + this.rng.uniform(within), () => {
        this.connect(a, b);
      });
  }

  private connect(a: AuthorityIndex, b: AuthorityIndex): void {
    const pair = this.pair(a, b);
    if (pair.isConnected || !this.canConnect(a, b)) return;
    if (this.queue.now < pair.bannedUntil) {
      this.queue.at(pair.bannedUntil, () => {
        this.connect(a, b);
      });
      return;
    }
    pair.isConnected = true;
    pair.connection++;
    this.tellBoth(a, b, (handler, peer) => {
      handler.connected(peer);
    });
  }

  private canConnect(a: AuthorityIndex, b: AuthorityIndex): boolean {
    const isThere = this.endpoints[a] !== undefined && this.endpoints[b] !== undefined;
    return isThere && this.link(a, b).cuts === 0 && this.link(b, a).cuts === 0;
  }

  private disconnect(a: AuthorityIndex, b: AuthorityIndex): void {
    const pair = this.pair(a, b);
    if (pair.isConnected) {
      pair.isConnected = false;
      pair.connection++;
      this.tellBoth(a, b, (handler, peer) => {
        handler.disconnected(peer);
      });
    }
    this.connectSoon(a, b, RECONNECT_MAX);
  }

  /** Later, not now: who asked for it is in the middle of something. */
  private tellBoth(
    a: AuthorityIndex,
    b: AuthorityIndex,
    what: (handler: NetworkHandler, peer: AuthorityIndex) => void,
  ): void {
    this.queue.after(0, () => {
      this.tell(a, (handler) => {
        what(handler, b);
      });
      this.tell(b, (handler) => {
        what(handler, a);
      });
    });
  }

  private tell(index: AuthorityIndex, what: (handler: NetworkHandler) => void): void {
    const endpoint = this.endpoints[index];
    endpoint?.enter(() => {
      what(endpoint.handler);
    });
  }

  // ---- links ----

  private transmit(link: Link, lag: Micros, deliver: () => void): void {
    if (link.cuts > 0 || this.happens("loss", this.model.lostPerMillion)) return;
    this.carry(link, lag, deliver);
    if (this.happens("duplication", this.model.doubledPerMillion)) this.carry(link, lag, deliver);
  }

  private carry(link: Link, lag: Micros, deliver: () => void): void {
    if (link.holds > 0) {
      link.held.push(deliver);
      return;
    }
    const arrival = this.queue.now + this.delay() + lag;
    const at = this.model.isOrdered ? Math.max(arrival, link.lastArrival) : arrival;
    if (at < link.lastArrival) this.onMishap("reorder");
    link.lastArrival = Math.max(at, link.lastArrival);
    this.queue.at(at, deliver);
  }

  private delay(): Micros {
    const { fromMs, toMs, spikesPerMillion, spikeFromMs, spikeToMs } = this.model;
    return this.happens("latency", spikesPerMillion)
      ? this.between(spikeFromMs, spikeToMs)
      : this.between(fromMs, toMs);
  }

  private between(fromMs: number, toMs: number): Micros {
    return fromMs * MS + this.rng.uniform((toMs - fromMs) * MS + 1);
  }

  private happens(mishap: Mishap, perMillion: number): boolean {
    if (perMillion === 0 || this.rng.uniform(MILLION) >= perMillion) return false;
    this.onMishap(mishap);
    return true;
  }

  private link(from: AuthorityIndex, to: AuthorityIndex): Link {
    return present(this.links[from * this.size + to], "a link joins two of the committee");
  }

  private pair(a: AuthorityIndex, b: AuthorityIndex): Pair {
    const place = a < b ? a * this.size + b : b * this.size + a;
    return present(this.pairs[place], "a pair is two of the committee");
  }
}

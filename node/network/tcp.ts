/**
 * The Network over TCP: one connection for each pair of validators, called by the one with the higher index, and called
 * again with growing pauses when it breaks. Strangers are bounded in number and in rate before anything is known of
 * them. Libp2p has its place behind the same port.
 */
import { randomBytes } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import { SomaError } from "../../base/errors.ts";
import type { Milliseconds } from "../../protocol/base/effects.ts";
import type { RejectionCode } from "../../protocol/base/errors.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { SignatureCheck } from "../../protocol/consensus/block-verifier.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import type { Signer } from "../../protocol/consensus/events.ts";
import type { Network, NetworkHandler, TransportFault } from "../runtime/ports.ts";
import { AddressBook } from "./address-book.ts";
import { Connection } from "./connection.ts";
import { Handshake, NONCE_BYTES, type Refusal } from "./handshake.ts";
import { DEFAULT_NETWORK_LIMITS, type NetworkLimits } from "./limits.ts";
import type { PeerMessage } from "./message.ts";

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

/** What concerns no known peer: for logs. */
export type TcpNotice =
  | {
      readonly kind: "strangerMisbehaved";
      readonly address: string;
      readonly code: RejectionCode | TransportFault;
      readonly detail: string;
    }
  | { readonly kind: "refused"; readonly address: string; readonly reason: Refusal };

export interface TcpNetworkOptions {
  readonly committee: Committee;
  readonly ownIndex: AuthorityIndex;
  readonly signer: Signer;
  readonly checkSignature: SignatureCheck;
  readonly listener: TcpListener;
  /** Of the validators that we call: those with a lower index. */
  readonly addresses: ReadonlyMap<AuthorityIndex, PeerAddress>;
  readonly limits?: NetworkLimits;
  readonly onNotice?: (notice: TcpNotice) => void;
}

/** A bound port. Until a network takes it over, connections are closed at once: whoever calls will call again. */
export interface TcpListener {
  readonly server: Server;
  readonly port: number;
}

/** @param port 0 takes any free one  @throws SomaError PORT_UNAVAILABLE (resources) */
export function listenTcp({ host, port }: PeerAddress): Promise<TcpListener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true });
    server.on("connection", (socket) => {
      if (server.listenerCount("connection") === 1) socket.destroy();
    });
    server.once("error", (error) => {
      reject(
        new SomaError(
          {
            code: "PORT_UNAVAILABLE",
            kind: "resources",
            what: `cannot listen on ${host}:${port} (${error.message})`,
            next: "give another port, or end what listens there",
          },
          { cause: error },
        ),
      );
    });
    server.listen({ host, port }, () => {
      const bound = server.address();
      resolve({ server, port: typeof bound === "object" && bound !== null ? bound.port : port });
    });
  });
}

interface Call {
  readonly address: PeerAddress;
  pauseMs: Milliseconds;
  timer: NodeJS.Timeout | undefined;
  /** While it is not connected yet. */
  socket: Socket | undefined;
}

export class TcpNetwork implements Network {
  private readonly options: TcpNetworkOptions;
  private readonly limits: NetworkLimits;
  private handler: NetworkHandler | undefined;
  private readonly connections = new Set<Connection>();
  /** Those whose peer is known. */
  private readonly byPeer = new Map<AuthorityIndex, Connection>();
  private readonly calls = new Map<AuthorityIndex, Call>();
  private readonly bannedUntil = new Map<AuthorityIndex, Milliseconds>();
  private readonly addresses: AddressBook;

  constructor(options: TcpNetworkOptions) {
    this.options = options;
    this.limits = options.limits ?? DEFAULT_NETWORK_LIMITS;
    this.addresses = new AddressBook(this.limits);
  }

  start(handler: NetworkHandler): void {
    this.handler = handler;
    this.options.listener.server.on("connection", (socket) => {
      this.accept(socket);
    });
    for (const [peer, address] of this.options.addresses) {
      if (peer >= this.options.ownIndex) continue;
      const pauseMs = this.limits.reconnectMinMs;
      this.calls.set(peer, { address, pauseMs, timer: undefined, socket: undefined });
      this.call(peer);
    }
  }

  send(peer: AuthorityIndex, message: PeerMessage): boolean {
    return this.byPeer.get(peer)?.send(message) ?? false;
  }

  ban(peer: AuthorityIndex, forMs: Milliseconds): void {
    this.bannedUntil.set(peer, performance.now() + forMs);
    this.byPeer.get(peer)?.close();
  }

  stop(): void {
    this.handler = undefined;
    for (const { timer, socket } of this.calls.values()) {
      clearTimeout(timer);
      socket?.destroy();
    }
    this.calls.clear();
    this.options.listener.server.close();
    for (const connection of this.connections) connection.close();
  }

  // ---- connections ----

  private accept(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    const unknownCount = this.connections.size - this.byPeer.size;
    const isFull =
      this.connections.size >= this.limits.connectionsMax ||
      unknownCount >= this.limits.unknownConnectionsMax;
    if (isFull || !this.addresses.admits(address, performance.now())) socket.destroy();
    else this.open(socket, undefined);
  }

  private call(peer: AuthorityIndex): void {
    const call = this.calls.get(peer);
    if (call === undefined) return;
    call.timer = undefined;
    const socket = connect({ ...call.address, noDelay: true });
    call.socket = socket;
    const fail = (): void => {
      call.socket = undefined;
      socket.destroy();
      this.callLater(peer);
    };
    socket.setTimeout(this.limits.frameTimeoutMs, fail);
    socket.once("error", fail);
    socket.once("connect", () => {
      socket.off("error", fail);
      socket.setTimeout(0);
      call.socket = undefined;
      this.open(socket, peer);
    });
  }

  private callLater(peer: AuthorityIndex): void {
    const call = this.calls.get(peer);
    if (call === undefined || call.timer !== undefined) return;
    const banMs = (this.bannedUntil.get(peer) ?? 0) - performance.now();
    call.timer = setTimeout(
      () => {
        this.call(peer);
      },
      Math.max(call.pauseMs, banMs),
    );
    call.pauseMs = Math.min(2 * call.pauseMs, this.limits.reconnectMaxMs);
  }

  private open(socket: Socket, expected: AuthorityIndex | undefined): void {
    socket.setKeepAlive(true, this.limits.frameTimeoutMs);
    const { committee, ownIndex, signer, checkSignature } = this.options;
    const handshake = new Handshake({
      committee,
      ownIndex,
      signer,
      checkSignature,
      nonce: randomBytes(NONCE_BYTES),
      expected,
      isWelcome: (peer) => peer > ownIndex && !this.isBanned(peer),
    });
    const connection = new Connection({
      socket,
      handshake,
      limits: this.limits,
      handler: {
        known: (known, peer) => {
          this.known(known, peer);
        },
        received: (peer, message, release) => {
          this.handler?.received(peer, message, release);
        },
        writable: (peer) => {
          this.handler?.writable(peer);
        },
        misbehaved: (blamed, code, detail) => {
          this.misbehaved(blamed, code, detail);
        },
        refused: ({ address }, reason) => {
          this.options.onNotice?.({ kind: "refused", address, reason });
        },
        closed: (closed) => {
          this.connections.delete(closed);
          this.gone(closed);
          if (expected !== undefined) this.callLater(expected);
        },
      },
    });
    this.connections.add(connection);
  }

  private known(connection: Connection, peer: AuthorityIndex): void {
    const before = this.byPeer.get(peer);
    if (before !== undefined) {
      // The peer calls anew: it knows better than we do that the old connection is dead.
      this.gone(before);
      before.close();
    }
    const call = this.calls.get(peer);
    if (call !== undefined) call.pauseMs = this.limits.reconnectMinMs;
    this.byPeer.set(peer, connection);
    this.handler?.connected(peer);
  }

  private gone(connection: Connection): void {
    const { peer } = connection;
    if (peer === undefined || this.byPeer.get(peer) !== connection) return;
    this.byPeer.delete(peer);
    this.handler?.disconnected(peer);
  }

  private misbehaved(
    { peer, address }: Connection,
    code: RejectionCode | TransportFault,
    detail: string,
  ): void {
    if (peer !== undefined) {
      this.handler?.misbehaved(peer, code, detail);
      return;
    }
    this.addresses.ban(address, performance.now());
    this.options.onNotice?.({ kind: "strangerMisbehaved", address, code, detail });
  }

  private isBanned(peer: AuthorityIndex): boolean {
    return (this.bannedUntil.get(peer) ?? 0) > performance.now();
  }
}

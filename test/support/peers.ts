/** Validators for tests of the transport: real ones over loopback, and raw sockets that say what they like. */
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { FrameReader } from "../../node/network/frame.ts";
import { Handshake } from "../../node/network/handshake.ts";
import { networkLimits, type NetworkLimits } from "../../node/network/limits.ts";
import type { PeerMessage } from "../../node/network/message.ts";
import { listenTcp, TcpNetwork, type TcpNotice } from "../../node/network/tcp.ts";
import { encodeMessage } from "../../node/network/wire.ts";
import type { NetworkHandler } from "../../node/runtime/ports.ts";
import { concatBytes } from "../../protocol/base/bytes.ts";
import { Committee } from "../../protocol/consensus/committee.ts";
import { committeeSignatures } from "../../protocol/consensus/signatures.ts";
import { loopCommittee } from "./consensus-loop.ts";

export const HOST = "127.0.0.1";
export const { committee: PEER_COMMITTEE, signers: PEER_SIGNERS } = loopCommittee(4);
export const checkPeer = committeeSignatures(PEER_COMMITTEE);

/** The same validators in another epoch, or of another network. */
export function otherCommittee(epoch: number, genesisDigest: Uint8Array): Committee {
  const authorities = [0, 1, 2, 3].map((i) => PEER_COMMITTEE.authority(i));
  return new Committee({ epoch, authorities, genesisDigest, genesisTimestampMs: 0 });
}

export interface Recorded {
  readonly events: string[];
  /** What was said of each that misbehaved. */
  readonly details: string[];
  readonly messages: { from: number; message: PeerMessage }[];
  /** Messages whose release is kept back while `holds`. */
  readonly releases: (() => void)[];
  holds: boolean;
}

export interface Node extends Recorded {
  readonly network: TcpNetwork;
  readonly port: number;
  readonly notices: TcpNotice[];
}

/** What a handler hears, written down. */
export function recorder(): { readonly recorded: Recorded; readonly handler: NetworkHandler } {
  const recorded: Recorded = {
    events: [],
    details: [],
    messages: [],
    releases: [],
    holds: false,
  };
  const handler: NetworkHandler = {
    connected: (peer) => recorded.events.push(`connected ${peer}`),
    disconnected: (peer) => recorded.events.push(`disconnected ${peer}`),
    writable: (peer) => recorded.events.push(`writable ${peer}`),
    misbehaved: (peer, code, detail) => {
      recorded.events.push(`misbehaved ${peer} ${code}`);
      recorded.details.push(detail);
    },
    received: (from, message, release) => {
      recorded.messages.push({ from, message });
      if (recorded.holds) recorded.releases.push(release);
      else release();
    },
  };
  return { recorded, handler };
}

/** A validator that listens; it calls those of `addresses`. */
export async function startNode(
  index: number,
  options: {
    readonly limits?: Partial<NetworkLimits>;
    readonly addresses?: ReadonlyMap<number, number>;
    readonly port?: number;
  } = {},
): Promise<Node> {
  const listener = await listenTcp({ host: HOST, port: options.port ?? 0 });
  const notices: TcpNotice[] = [];
  const signer = PEER_SIGNERS[index];
  if (signer === undefined) throw new Error(`no validator ${index}`);
  const network = new TcpNetwork({
    committee: PEER_COMMITTEE,
    ownIndex: index,
    signer,
    checkSignature: checkPeer,
    listener,
    addresses: new Map(
      [...(options.addresses ?? [])].map(([peer, port]) => [peer, { host: HOST, port }]),
    ),
    limits: networkLimits(options.limits),
    onNotice: (notice) => notices.push(notice),
  });
  const { recorded, handler } = recorder();
  network.start(handler);
  return Object.assign(recorded, { network, port: listener.port, notices });
}

/** A socket of ours: it shakes hands as it should, and then sends what it is given. */
export class RawPeer {
  readonly socket: Socket;
  isClosed = false;
  private readonly reader = new FrameReader(() => 64 * 1024 * 1024);
  private onData = (): void => undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.reader.push(chunk);
      this.onData();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
    });
  }

  static async call(port: number): Promise<RawPeer> {
    const socket = connect({ host: HOST, port, noDelay: true });
    const peer = new RawPeer(socket);
    await once(socket, "connect");
    return peer;
  }

  /** As validator `index`. */
  static async known(port: number, index: number): Promise<RawPeer> {
    const peer = await RawPeer.call(port);
    await peer.shakeHands(index);
    return peer;
  }

  /** @returns "done", the reason of a refusal, or "closed" */
  async shakeHands(
    index: number,
    changes: { readonly committee?: Committee; readonly signer?: number } = {},
  ): Promise<string> {
    const signer = PEER_SIGNERS[changes.signer ?? index];
    if (signer === undefined) throw new Error(`no validator ${index}`);
    const handshake = new Handshake({
      committee: changes.committee ?? PEER_COMMITTEE,
      ownIndex: index,
      signer,
      checkSignature: checkPeer,
      nonce: new Uint8Array(32).fill(index),
      expected: 0,
      isWelcome: () => true,
    });
    this.send(...handshake.begin());
    return new Promise((resolve) => {
      this.socket.on("close", () => {
        resolve("closed");
      });
      this.onData = () => {
        for (let frame = this.reader.next(); frame !== undefined; frame = this.reader.next()) {
          const step = handshake.take(frame);
          if (step.kind === "send" || step.kind === "refuse") this.send(...step.frame);
          if (step.kind === "send") continue;
          this.onData = () => undefined;
          resolve(step.kind === "refused" ? step.reason : step.kind);
          return;
        }
      };
      this.onData();
    });
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(concatBytes(...parts));
  }

  say(message: PeerMessage): void {
    this.send(...encodeMessage(message));
  }

  async closed(): Promise<void> {
    await until(() => this.isClosed, "the connection is closed");
  }
}

/** Until `condition` holds. @throws Error after `timeoutMs` */
export async function until(
  condition: () => boolean,
  what: string,
  timeoutMs = 5000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}

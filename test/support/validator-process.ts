/**
 * A validator in a process of its own: real files, loopback TCP, small transactions. Prints a line of JSON for each
 * commit and each complaint. It kills itself at a write, if it is told to: before it, in the middle of it, or behind it.
 */
import { networkLimits } from "../../node/network/limits.ts";
import { listenTcp, TcpNetwork } from "../../node/network/tcp.ts";
import { ChainApplication } from "../../node/runtime/chain-application.ts";
import { makeConsensusNode } from "../../node/runtime/consensus-node.ts";
import type { DriverNotice } from "../../node/runtime/driver.ts";
import { type Disk, type DiskFile, FolderDisk } from "../../node/storage/disk.ts";
import { openLogStore } from "../../node/storage/log-store.ts";
import { concatBytes, toHex } from "../../protocol/base/bytes.ts";
import { consensusParameters } from "../../protocol/base/parameters.ts";
import { committeeSignatures } from "../../protocol/consensus/signatures.ts";
import { loopCommittee } from "./consensus-loop.ts";

export interface ValidatorProcessOptions {
  readonly index: number;
  readonly ports: readonly number[];
  readonly folder: string;
  /** The call to the disk, counted from the start, in which the process dies; -1: none. */
  readonly diesAt: number;
}

export type ValidatorLine =
  | {
      readonly kind: "commit";
      readonly index: number;
      readonly digest: string;
      /** Of the application behind it. */
      readonly chain: string;
      readonly authors: readonly number[];
    }
  | { readonly kind: "started"; readonly commitIndex: number; readonly cutBytes: number }
  | { readonly kind: "complaint"; readonly what: string };

/** What a disk writes whole or not at all. */
const SECTOR_BYTES = 512;
const HOST = "127.0.0.1";
const TRANSACTION_BYTES = 40;
const SUBMIT_INTERVAL_MS = 10;

function say(line: ValidatorLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Dies in the call of this number. */
class DeadlyDisk implements Disk {
  private readonly inner: Disk;
  private left: number;

  constructor(inner: Disk, diesAt: number) {
    this.inner = inner;
    this.left = diesAt;
  }

  open(name: string): DiskFile {
    const file = this.inner.open(name);
    return {
      path: file.path,
      sizeSync: () => file.sizeSync(),
      readSync: (position, length) => file.readSync(position, length),
      writeSync: (position, bytes) => {
        if (this.isLast()) die();
        file.writeSync(position, bytes);
      },
      truncateSync: (length) => {
        if (this.isLast()) die();
        file.truncateSync(length);
      },
      syncSync: () => {
        if (this.isLast()) die();
        file.syncSync();
      },
      read: (position, length, done) => {
        file.read(position, length, done);
      },
      write: (position, parts, done) => {
        if (!this.isLast()) {
          file.write(position, parts, done);
          return;
        }
        // None of it, some whole sectors, or all: what a kill in the middle of a call can leave.
        const whole = concatBytes(...parts);
        const end = Math.floor((position + whole.length / 2) / SECTOR_BYTES) * SECTOR_BYTES;
        const half = whole.subarray(0, Math.max(0, end - position));
        const written = [whole.subarray(0, 0), half, whole][position % 3] ?? whole;
        file.write(position, [written], die);
      },
      sync: (done) => {
        if (!this.isLast()) file.sync(done);
        else file.sync(die);
      },
      close: () => {
        file.close();
      },
    };
  }

  private isLast(): boolean {
    return this.left-- === 0;
  }
}

function die(): void {
  process.kill(process.pid, "SIGKILL");
}

async function main(options: ValidatorProcessOptions): Promise<void> {
  const { index, ports, folder, diesAt } = options;
  const { committee, signers } = loopCommittee(ports.length);
  const signer = signers[index];
  const port = ports[index];
  if (signer === undefined || port === undefined) throw new Error("no such validator");
  const store = openLogStore({
    disk: new DeadlyDisk(new FolderDisk(folder), diesAt),
    identity: committee.genesisDigest,
  });
  const application = new ChainApplication(committee.genesisDigest);
  const network = new TcpNetwork({
    committee,
    ownIndex: index,
    signer,
    checkSignature: committeeSignatures(committee),
    listener: await listenTcp({ host: HOST, port }),
    addresses: new Map(ports.map((each, peer) => [peer, { host: HOST, port: each }])),
    limits: networkLimits({ reconnectMinMs: 20, reconnectMaxMs: 200 }),
  });
  const note = (notice: DriverNotice): void => {
    switch (notice.kind) {
      case "commit":
        say({
          kind: "commit",
          index: notice.commit.index,
          digest: toHex(notice.commit.digest),
          chain: toHex(application.state.chain),
          authors: [...new Set(notice.blocks.map(({ author }) => author))],
        });
        return;
      case "started":
        say({
          kind: "started",
          commitIndex: application.state.commitCount,
          cutBytes: notice.cutBytes,
        });
        return;
      case "failed":
        say({ kind: "complaint", what: notice.error.line() });
        process.exit(notice.error.exitCode);
        return;
      case "equivocation":
      case "misbehaved":
      case "banned":
        say({ kind: "complaint", what: JSON.stringify(notice) });
        return;
      case "connected":
      case "disconnected":
      case "clockAhead":
      case "epochEnded":
      case "transactionsProposed":
      case "transactionsRefused":
        return;
    }
  };
  const { driver } = makeConsensusNode({
    committee,
    ownIndex: index,
    parameters: consensusParameters({
      roundDelayMinMs: 15,
      leaderTimeoutMs: 50,
      ownBlockRetryMs: 300,
    }),
    signer,
    network,
    store,
    application,
    onNotice: note,
  });
  driver.start();
  let id = 0;
  setInterval(() => {
    const frames = new Uint8Array(1 + TRANSACTION_BYTES).fill(index);
    frames[0] = TRANSACTION_BYTES;
    new DataView(frames.buffer).setFloat64(1, performance.timeOrigin + performance.now());
    driver.submit({ id: id++, count: 1, frames });
  }, SUBMIT_INTERVAL_MS);
}

process.on("disconnect", () => {
  process.exit();
});
if (process.argv[2] !== undefined) {
  await main(JSON.parse(process.argv[2]) as ValidatorProcessOptions);
}

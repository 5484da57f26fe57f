/**
 * Everything that happens in a run, in order: folded into one number always, written as lines of text when someone
 * reads them. Two runs of one seed give the same lines; the number tells whether two machines agree without the text.
 */
import { toHex } from "../../protocol/base/bytes.ts";
import { authorName } from "../../protocol/consensus/block.ts";
import type { PeerMessage } from "../network/message.ts";
import { authorOf, roundOf } from "./block-place.ts";
import { type Micros, SECOND } from "./event-queue.ts";

export type TraceSink = (line: string) => void;

/** Primes of FNV-1a and of Murmur: two folds of 32 bits that differ. */
const PRIME_A = 0x01000193;
const PRIME_B = 0x5bd1e995;

export class Trace {
  private readonly sink: TraceSink | undefined;
  private readonly now: () => Micros;
  private foldA = 0x811c9dc5;
  private foldB = 0x9747b28c;
  private count = 0;

  constructor(now: () => Micros, sink?: TraceSink) {
    this.now = now;
    this.sink = sink;
  }

  get eventCount(): number {
    return this.count;
  }

  /** Of all events so far, each in its order and at its time. */
  get fold(): readonly [number, number] {
    return [this.foldA >>> 0, this.foldB >>> 0];
  }

  delivered(from: number, to: number, message: PeerMessage): void {
    this.add(from, to, weightOf(message));
    this.sink?.(
      `${this.time()} ${authorName(from)} → ${authorName(to)}  ${describeMessage(message)}`,
    );
  }

  /** Something else. @param place a validator, or −1  @param number what tells this event from others like it */
  note(place: number, number: number, describe: () => string): void {
    this.add(place, number, 0);
    if (this.sink === undefined) return;
    const who = place < 0 ? "the world" : authorName(place);
    this.sink(`${this.time()} ${who}  ${describe()}`);
  }

  private add(a: number, b: number, c: number): void {
    this.count++;
    const now = this.now();
    for (const each of [now, a, b, c]) {
      this.foldA = Math.imul(this.foldA ^ each, PRIME_A);
      this.foldB = Math.imul(this.foldB ^ (each + (this.foldB >>> 15)), PRIME_B);
    }
  }

  private time(): string {
    return (this.now() / SECOND).toFixed(6).padStart(11);
  }
}

/** Something of the content: the rest of it comes to light in what it leads to. */
function weightOf(message: PeerMessage): number {
  switch (message.kind) {
    case "blocks":
    case "fetchedBlocks":
      return message.blocks.reduce((sum, block) => sum + block.length + roundOf(block), 1);
    case "fetchedCommits":
      return 2 + message.commits.length;
    case "fetchBlocks":
      return 100 + message.refs.length;
    case "ownBlock":
      return 3 + (message.block?.length ?? 0);
    case "subscribe":
      return message.aboveRound;
    case "fetchCommits":
      return message.fromIndex;
    case "askOwnBlock":
      return 5;
  }
}

function describeMessage(message: PeerMessage): string {
  switch (message.kind) {
    case "blocks":
    case "fetchedBlocks":
      return `${message.kind} ${message.blocks.map(describeBlock).join(" ")}`;
    case "fetchBlocks":
      return `fetchBlocks #${message.request} ${message.refs
        .map(({ author, round, digest }) => `${authorName(author)}${round}:${short(digest)}`)
        .join(" ")}`;
    case "fetchCommits":
      return `fetchCommits #${message.request} ${message.fromIndex}…${message.toIndex}`;
    case "fetchedCommits":
      return `fetchedCommits #${message.request} ${message.commits.length}, certified by ${message.certifiers.length}`;
    case "ownBlock":
      return `ownBlock ${message.block === undefined ? "unknown" : describeBlock(message.block)}`;
    case "subscribe":
      return `subscribe above ${message.aboveRound}`;
    case "askOwnBlock":
      return "askOwnBlock";
  }
}

/** What the bytes say of themselves: they may be garbage. */
function describeBlock(bytes: Uint8Array): string {
  return `${authorName(authorOf(bytes))}${roundOf(bytes)} (${bytes.length} bytes)`;
}

function short(digest: Uint8Array): string {
  return toHex(digest.subarray(0, 4));
}

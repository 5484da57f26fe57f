/**
 * What will happen, in the order in which it will: by time, and at one time in the order in which it was asked for.
 * That order is all there is to a run, so a seed gives one run, byte for byte.
 */
import { present } from "../../base/errors.ts";

/** Virtual time since the start of a run, in whole microseconds: fine enough that ties are rare. */
export type Micros = number;

export const MS: Micros = 1000;
export const SECOND: Micros = 1000 * MS;

interface Entry {
  readonly at: Micros;
  readonly order: number;
  readonly action: () => void;
}

export class EventQueue {
  /** A binary heap: no entry comes before its parent, at (i − 1) >> 1. */
  private readonly heap: Entry[] = [];
  private pushed = 0;
  private time: Micros = 0;

  /** Time of the last event taken. */
  get now(): Micros {
    return this.time;
  }

  get size(): number {
    return this.heap.length;
  }

  /** @param delay from now, 0 or more */
  after(delay: Micros, action: () => void): void {
    this.at(this.time + delay, action);
  }

  /** @param at not before now */
  at(at: Micros, action: () => void): void {
    const entry = { at: Math.max(at, this.time), order: this.pushed++, action };
    const { heap } = this;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = present(heap[up], "a heap has no holes");
      if (!isBefore(entry, parent)) break;
      heap[i] = parent;
      i = up;
    }
    heap[i] = entry;
  }

  /** Let the next event happen. @returns false if there is none */
  step(): boolean {
    const first = this.heap[0];
    const last = this.heap.pop();
    if (first === undefined || last === undefined) return false;
    if (this.heap.length > 0) this.sink(last);
    this.time = first.at;
    first.action();
    return true;
  }

  /** Put `entry` at the top and let it sink to its place. */
  private sink(entry: Entry): void {
    const { heap } = this;
    let i = 0;
    for (;;) {
      const left = heap[2 * i + 1];
      if (left === undefined) break;
      const right = heap[2 * i + 2];
      const takesRight = right !== undefined && isBefore(right, left);
      const child = takesRight ? right : left;
      if (!isBefore(child, entry)) break;
      heap[i] = child;
      i = 2 * i + (takesRight ? 2 : 1);
    }
    heap[i] = entry;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at !== b.at ? a.at < b.at : a.order < b.order;
}

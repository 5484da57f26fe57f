/**
 * Which groups go into a batch. Pure: step → groups, decided by the seed alone, so that a resumed run sees
 * exactly the batches that an unbroken one would have seen.
 */
import { assert, present } from "../base/errors.ts";
import { seededRng } from "../tokenizers/random.ts";
import type { Example } from "./dataset.ts";

/** Where a sampler is: `position` batches of pass `pass` were given out. */
export interface SamplerState {
  readonly pass: number;
  readonly position: number;
}

/**
 * Gives every group once a pass, in an order shuffled anew for each pass (the shuffle of pass n depends on
 * the seed and n only). The groups that do not fill a last batch are left out of that pass; another shuffle
 * leaves out others. Fewer groups than a batch: every batch is all of them.
 */
export class GroupSampler {
  /** Groups in a batch. */
  readonly batchSize: number;
  readonly batchesPerPass: number;
  private readonly groups: readonly string[];
  private readonly seed: number;
  private pass = 0;
  private position = 0;
  private order: Uint32Array = new Uint32Array();
  private orderPass = -1;

  /** @param groups distinct, in an order that does not depend on the machine */
  constructor(groups: readonly string[], seed: number, batchSize: number) {
    assert(groups.length > 0, "a sampler needs at least one group");
    assert(Number.isInteger(batchSize), "a batch size is an integer");
    assert(batchSize >= 1, "a batch has at least one group");
    this.groups = groups;
    this.seed = seed;
    this.batchSize = Math.min(batchSize, groups.length);
    this.batchesPerPass = Math.floor(groups.length / this.batchSize);
  }

  /** The next batch of groups. */
  next(): readonly string[] {
    const batch = this.batchAt(this.pass, this.position);
    this.position++;
    if (this.position === this.batchesPerPass) {
      this.pass++;
      this.position = 0;
    }
    return batch;
  }

  /** The batch of step 0, 1, 2, …, whatever was asked before: what `next` gives as the (step + 1)-th. */
  at(step: number): readonly string[] {
    return this.batchAt(Math.floor(step / this.batchesPerPass), step % this.batchesPerPass);
  }

  state(): SamplerState {
    return { pass: this.pass, position: this.position };
  }

  /** Go on where `state` was taken. @throws InvariantError if no sampler of these groups was ever there */
  restore(state: SamplerState): void {
    assert(Number.isInteger(state.pass) && state.pass >= 0, "a pass is a count");
    assert(Number.isInteger(state.position) && state.position >= 0, "a position is a count");
    assert(state.position < this.batchesPerPass, "the position is beyond the end of a pass");
    this.pass = state.pass;
    this.position = state.position;
  }

  private batchAt(pass: number, position: number): readonly string[] {
    if (pass !== this.orderPass) {
      const rng = seededRng(this.seed, `pass/${pass}`);
      this.order = rng.sample(this.groups.length, this.groups.length);
      this.orderPass = pass;
    }
    const start = position * this.batchSize;
    return Array.from(this.order.subarray(start, start + this.batchSize), (index) =>
      present(this.groups[index], "an index within the groups"),
    );
  }
}

/** Examples by group, in order of first appearance. */
export function byGroup<E extends Pick<Example, "group">>(
  examples: readonly E[],
): Map<string, readonly E[]> {
  const groups = new Map<string, E[]>();
  for (const example of examples) {
    const group = groups.get(example.group);
    if (group === undefined) groups.set(example.group, [example]);
    else group.push(example);
  }
  return groups;
}

/** Two examples of one group. */
export interface Pair {
  readonly group: string;
  readonly first: Example;
  readonly second: Example;
}

/**
 * Every ordered pair of positives: two different examples of one group. With n examples in a group that is
 * n·(n − 1) pairs; filter the examples first (one modality, some variants) to keep the number small.
 */
export function pairsOf(examples: readonly Example[]): Pair[] {
  const pairs: Pair[] = [];
  for (const [group, members] of byGroup(examples)) {
    for (const first of members) {
      for (const second of members) if (first !== second) pairs.push({ group, first, second });
    }
  }
  return pairs;
}

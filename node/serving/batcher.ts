/**
 * Dynamic batching: inputs of many requests are embedded together, at most so many tokens at a time.
 * `BatchQueue` is the rule, pure and synchronous; `Batcher` drives it with an embed function and a clock.
 * While a batch runs, inputs gather, so that batches grow with the load by themselves; the short wait is only
 * for an idle server, where the second of two simultaneous requests would otherwise miss the batch of the first.
 */
import { assert, present, SomaError } from "../../base/errors.ts";

export interface BatchLimits {
  /** Tokens of one batch at most, each input counted as long as the longest beside it (padding). */
  readonly batchTokensMax: number;
  /** Inputs that may wait; more are refused. */
  readonly queuedMax: number;
  /** How long the first input of a batch waits for company. */
  readonly waitMs: number;
}

/** What an input costs, and what it can share a batch with: only inputs of one lane are embedded together. */
export interface Weight {
  readonly lane: string;
  readonly tokens: number;
}

interface Waiting<Item> {
  readonly item: Item;
  readonly tokens: number;
  readonly sinceMs: number;
}

export type NextBatch<Item> =
  | { readonly kind: "batch"; readonly items: readonly Item[]; readonly tokens: number }
  /** Nothing is due before `untilMs`. */
  | { readonly kind: "wait"; readonly untilMs: number }
  | { readonly kind: "empty" };

/** First come, first served within a lane; the lane whose first input is oldest goes first. */
export class BatchQueue<Item> {
  private readonly limits: BatchLimits;
  private readonly lanes = new Map<string, Waiting<Item>[]>();
  private waiting = 0;

  constructor(limits: BatchLimits) {
    this.limits = limits;
  }

  get size(): number {
    return this.waiting;
  }

  /** Whether `count` more may wait. */
  hasRoom(count: number): boolean {
    return this.waiting + count <= this.limits.queuedMax;
  }

  /** @param weight  tokens 1 … batchTokensMax  @param nowMs  never less than in the call before */
  add(item: Item, weight: Weight, nowMs: number): void {
    assert(this.hasRoom(1), "the queue has room for what is added");
    assert(weight.tokens >= 1, "an input has tokens");
    assert(weight.tokens <= this.limits.batchTokensMax, "an input fits into a batch");
    const lane = this.lanes.get(weight.lane) ?? [];
    this.lanes.set(weight.lane, lane);
    lane.push({ item, tokens: weight.tokens, sinceMs: nowMs });
    this.waiting++;
  }

  /** The batch to run now, if one is due: it is full, or its first input has waited long enough (not at all if `hurry`). */
  take(nowMs: number, hurry = false): NextBatch<Item> {
    const next = this.oldestLane();
    if (next === undefined) return { kind: "empty" };
    const [name, lane] = next;
    const { count, tokens } = this.fill(lane);
    const untilMs = present(lane[0], "a lane is not empty").sinceMs + this.limits.waitMs;
    if (!hurry && count === lane.length && nowMs < untilMs) return { kind: "wait", untilMs };
    const items = lane.splice(0, count).map(({ item }) => item);
    if (lane.length === 0) this.lanes.delete(name);
    this.waiting -= count;
    return { kind: "batch", items, tokens };
  }

  private oldestLane(): readonly [string, Waiting<Item>[]] | undefined {
    let oldest: readonly [string, Waiting<Item>[]] | undefined;
    let oldestMs = Infinity;
    for (const entry of this.lanes) {
      const sinceMs = entry[1][0]?.sinceMs ?? Infinity;
      if (sinceMs < oldestMs) {
        oldest = entry;
        oldestMs = sinceMs;
      }
    }
    return oldest;
  }

  /** How many from the head of a lane fit into one batch, and the tokens that makes with padding. */
  private fill(lane: readonly Waiting<Item>[]): { count: number; tokens: number } {
    let count = 0;
    let longest = 0;
    for (const { tokens } of lane) {
      const longestWith = Math.max(longest, tokens);
      if ((count + 1) * longestWith > this.limits.batchTokensMax) break;
      longest = longestWith;
      count++;
    }
    return { count, tokens: count * longest };
  }
}

/** Time as the batcher sees it. */
export interface Clock {
  nowMs(): number;
  /** Call `work` after `delayMs`; the returned function cancels. */
  after(delayMs: number, work: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  nowMs: () => performance.now(),
  after(delayMs, work) {
    const timer = setTimeout(work, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};

export interface BatcherOptions<Input, Output> {
  /** One output per input, in order. Called for one batch at a time. */
  readonly embed: (inputs: readonly Input[]) => Promise<readonly Output[]>;
  readonly weigh: (input: Input) => Weight;
  readonly limits: BatchLimits;
  readonly clock?: Clock;
  /** Told after each batch. */
  readonly onBatch?: (batch: { readonly inputs: number; readonly tokens: number }) => void;
}

/** All inputs of one `submit`; settled once. */
interface Request<Output> {
  readonly outputs: Output[];
  missing: number;
  settled: boolean;
  resolve(outputs: readonly Output[]): void;
  reject(error: unknown): void;
}

interface Entry<Input, Output> {
  readonly input: Input;
  readonly request: Request<Output>;
  /** Place of the input in its request. */
  readonly position: number;
}

export class Batcher<Input, Output> {
  private readonly options: BatcherOptions<Input, Output>;
  private readonly clock: Clock;
  private readonly queue: BatchQueue<Entry<Input, Output>>;
  private running = false;
  private closing = false;
  private cancelTimer: (() => void) | undefined;
  private readonly idleListeners: (() => void)[] = [];

  constructor(options: BatcherOptions<Input, Output>) {
    this.options = options;
    this.clock = options.clock ?? SYSTEM_CLOCK;
    this.queue = new BatchQueue(options.limits);
  }

  /** Inputs that wait for their batch. */
  get queued(): number {
    return this.queue.size;
  }

  /**
   * One output per input, in order. All inputs are taken or none.
   * @param signal  if it aborts, the promise rejects with its reason and inputs that still wait are dropped
   * @throws SomaError INPUT_TOO_LONG (refused), QUEUE_FULL (resources), CLOSING (refused); and what `embed` throws
   */
  async submit(inputs: readonly Input[], signal?: AbortSignal): Promise<readonly Output[]> {
    if (this.closing) {
      throw new SomaError({
        code: "CLOSING",
        kind: "refused",
        what: "the server is shutting down",
        next: "send the request to another one, or again later",
      });
    }
    signal?.throwIfAborted();
    if (inputs.length === 0) return [];
    const weights = inputs.map(this.options.weigh);
    this.assertFits(weights);
    return new Promise((resolve, reject) => {
      const request = newRequest<Output>(inputs.length, resolve, reject);
      signal?.addEventListener(
        "abort",
        () => {
          fail(request, signal.reason);
        },
        { once: true },
      );
      const nowMs = this.clock.nowMs();
      inputs.forEach((input, position) => {
        const weight = present(weights[position], "each input was weighed");
        this.queue.add({ input, request, position }, weight, nowMs);
      });
      this.advance();
    });
  }

  /** Refuse new inputs, and resolve when all that were taken are answered. */
  close(): Promise<void> {
    this.closing = true;
    this.advance();
    if (!this.running && this.queue.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.idleListeners.push(resolve);
    });
  }

  private assertFits(weights: readonly Weight[]): void {
    const { batchTokensMax, queuedMax } = this.options.limits;
    const longest = Math.max(...weights.map(({ tokens }) => tokens));
    if (longest > batchTokensMax) {
      throw new SomaError({
        code: "INPUT_TOO_LONG",
        kind: "refused",
        what: `an input has ${longest} tokens, a batch holds ${batchTokensMax}`,
        next: "shorten the input, or serve with a larger --max-batch-tokens",
      });
    }
    if (!this.queue.hasRoom(weights.length)) {
      throw new SomaError({
        code: "QUEUE_FULL",
        kind: "resources",
        what: `${this.queue.size} of ${queuedMax} places in the queue are taken`,
        next: "try again in a second",
      });
    }
  }

  /** Start the next batch if none runs and one is due, or set the timer for when it will be. */
  private advance(): void {
    if (this.running) return;
    this.cancelTimer?.();
    this.cancelTimer = undefined;
    const next = this.queue.take(this.clock.nowMs(), this.closing);
    switch (next.kind) {
      case "empty":
        for (const listener of this.idleListeners.splice(0)) listener();
        return;
      case "wait":
        this.cancelTimer = this.clock.after(next.untilMs - this.clock.nowMs(), () => {
          this.advance();
        });
        return;
      case "batch":
        this.running = true;
        void this.run(next.items, next.tokens).finally(() => {
          this.running = false;
          this.advance();
        });
    }
  }

  /** Never rejects: every failure is a request's. */
  private async run(entries: readonly Entry<Input, Output>[], tokens: number): Promise<void> {
    // Requests that failed or were given up while they waited cost nothing.
    const wanted = entries.filter(({ request }) => !request.settled);
    if (wanted.length === 0) return;
    try {
      const outputs = await this.options.embed(wanted.map(({ input }) => input));
      assert(outputs.length === wanted.length, "one output per input");
      wanted.forEach((entry, i) => {
        answer(entry, present(outputs[i], "one output per input"));
      });
    } catch (error) {
      for (const { request } of wanted) fail(request, error);
    }
    this.options.onBatch?.({ inputs: wanted.length, tokens });
  }
}

function newRequest<Output>(
  size: number,
  resolve: (outputs: readonly Output[]) => void,
  reject: (error: unknown) => void,
): Request<Output> {
  return { outputs: new Array<Output>(size), missing: size, settled: false, resolve, reject };
}

function answer<Input, Output>({ request, position }: Entry<Input, Output>, output: Output): void {
  if (request.settled) return;
  request.outputs[position] = output;
  if (--request.missing > 0) return;
  request.settled = true;
  request.resolve(request.outputs);
}

function fail<Output>(request: Request<Output>, error: unknown): void {
  if (request.settled) return;
  request.settled = true;
  request.reject(error);
}

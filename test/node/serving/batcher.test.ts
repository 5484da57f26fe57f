import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Batcher, BatchQueue, type Clock } from "../../../node/serving/batcher.ts";

/** A clock that moves only when told to. */
class HandClock implements Clock {
  private now = 0;
  private timers: { atMs: number; work: () => void }[] = [];

  nowMs(): number {
    return this.now;
  }

  after(delayMs: number, work: () => void): () => void {
    const timer = { atMs: this.now + delayMs, work };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  get armed(): number {
    return this.timers.length;
  }

  /** Move on by `ms`, firing what comes due, in order. */
  advance(ms: number): void {
    this.now += ms;
    for (;;) {
      const due = this.timers.sort((a, b) => a.atMs - b.atMs).find(({ atMs }) => atMs <= this.now);
      if (due === undefined) return;
      this.timers = this.timers.filter((other) => other !== due);
      due.work();
    }
  }
}

/** Let everything that waits for nothing but promises go on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

interface Input {
  readonly lane: string;
  readonly tokens: number;
  readonly name: string;
}

const weigh = ({ lane, tokens }: Input): { lane: string; tokens: number } => ({ lane, tokens });

/** A batcher whose batches finish when the test says so. */
function harness(limits: { batchTokensMax: number; queuedMax: number; waitMs: number }): {
  clock: HandClock;
  batcher: Batcher<Input, string>;
  batches: Input[][];
  finishOne: (error?: Error) => Promise<void>;
} {
  const clock = new HandClock();
  const batches: Input[][] = [];
  const running: {
    inputs: readonly Input[];
    done: (outputs: string[]) => void;
    fail: (e: Error) => void;
  }[] = [];
  const batcher = new Batcher<Input, string>({
    clock,
    limits,
    weigh,
    embed: (inputs) => {
      expect(running, "one batch at a time").toHaveLength(0);
      batches.push([...inputs]);
      return new Promise((done, fail) => running.push({ inputs, done, fail }));
    },
  });
  const finishOne = async (error?: Error): Promise<void> => {
    const batch = running.shift();
    if (error !== undefined) batch?.fail(error);
    else batch?.done(batch.inputs.map(({ name }) => `embedding of ${name}`));
    await settle();
  };
  return { clock, batcher, batches, finishOne };
}

const LIMITS = { batchTokensMax: 20, queuedMax: 100, waitMs: 5 };
const input = (name: string, tokens = 1, lane = "ids"): Input => ({ name, tokens, lane });

type Step =
  | { readonly kind: "submit"; readonly inputs: readonly { lane: string; tokens: number }[] }
  | { readonly kind: "tick"; readonly ms: number }
  | { readonly kind: "finish"; readonly fails: boolean }
  | { readonly kind: "abort"; readonly which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("submit" as const),
    inputs: fc.array(
      fc.record({
        lane: fc.constantFrom("ids", "patches"),
        tokens: fc.integer({ min: 1, max: 20 }),
      }),
      { maxLength: 6 },
    ),
  }),
  fc.record({ kind: fc.constant("tick" as const), ms: fc.nat({ max: 10 }) }),
  fc.record({ kind: fc.constant("finish" as const), fails: fc.boolean() }),
  fc.record({ kind: fc.constant("abort" as const), which: fc.nat({ max: 20 }) }),
);

describe("whatever arrives, finishes, fails or is given up, in whatever order,", () => {
  test("batches keep to the budget and one lane, the queue to its bound, and each request is answered once, in its order", () =>
    fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const limits = { batchTokensMax: 20, queuedMax: 12, waitMs: 5 };
        const { clock, batcher, batches, finishOne } = harness(limits);
        const answers: string[][] = [];
        const expected: string[] = [];
        const aborts: AbortController[] = [];
        let refused = 0;
        for (const next of steps) {
          switch (next.kind) {
            case "submit": {
              const id = expected.length;
              const inputs = next.inputs.map((one, i) => ({ ...one, name: `${id}/${i}` }));
              expected.push(inputs.map(({ name }) => `embedding of ${name}`).join());
              const settled: string[] = [];
              answers.push(settled);
              const abort = new AbortController();
              aborts.push(abort);
              const full = batcher.queued + inputs.length > limits.queuedMax;
              batcher.submit(inputs, abort.signal).then(
                (outputs) => settled.push(outputs.join()),
                (error: unknown) => {
                  const code = (error as { code?: unknown }).code;
                  if (code === "QUEUE_FULL") {
                    expect(full).toBe(true);
                    refused++;
                  }
                  settled.push("failed");
                },
              );
              break;
            }
            case "tick":
              clock.advance(next.ms);
              break;
            case "finish":
              await finishOne(next.fails ? new Error("backend") : undefined);
              break;
            case "abort":
              aborts[next.which]?.abort();
          }
          await settle();
          expect(batcher.queued).toBeLessThanOrEqual(limits.queuedMax);
        }
        const closed = batcher.close();
        for (let i = 0; i < 200; i++) await finishOne();
        await closed;
        expect(clock.armed).toBe(0);
        expect(refused).toBeLessThanOrEqual(answers.length);
        for (const [id, settled] of answers.entries()) {
          expect(settled).toHaveLength(1);
          if (settled[0] !== "failed") expect(settled[0]).toBe(expected[id]);
        }
        const seen = batches.flat().map(({ name }) => name);
        expect(new Set(seen).size, "no input is embedded twice").toBe(seen.length);
        for (const batch of batches) {
          expect(batch.length * Math.max(...batch.map(({ tokens }) => tokens))).toBeLessThanOrEqual(
            20,
          );
          expect(new Set(batch.map(({ lane }) => lane)).size).toBe(1);
        }
      }),
      { numRuns: 300 },
    ));
});

describe("a batch", () => {
  test("starts after the wait, with all that came meanwhile", async () => {
    const { clock, batcher, batches } = harness(LIMITS);
    void batcher.submit([input("a")]);
    clock.advance(4);
    void batcher.submit([input("b")]);
    expect(batches).toHaveLength(0);
    clock.advance(1);
    expect(batches.map((batch) => batch.map(({ name }) => name))).toEqual([["a", "b"]]);
  });

  test("starts at once when it is full", () => {
    const { batcher, batches } = harness(LIMITS);
    void batcher.submit([input("a", 10), input("b", 10), input("c", 10)]);
    expect(batches.map((batch) => batch.map(({ name }) => name))).toEqual([["a", "b"]]);
  });

  test("counts padding: a long input makes its neighbours as long", () => {
    const queue = new BatchQueue<string>(LIMITS);
    queue.add("short", { lane: "ids", tokens: 1 }, 0);
    queue.add("long", { lane: "ids", tokens: 11 }, 0);
    expect(queue.take(100)).toEqual({ kind: "batch", items: ["short"], tokens: 1 });
    expect(queue.take(100)).toEqual({ kind: "batch", items: ["long"], tokens: 11 });
    expect(queue.take(100)).toEqual({ kind: "empty" });
  });

  test("of the lane that has waited longest goes first, so that no kind starves", () => {
    const queue = new BatchQueue<string>(LIMITS);
    queue.add("picture", { lane: "patches", tokens: 1 }, 0);
    queue.add("text", { lane: "ids", tokens: 1 }, 1);
    queue.add("another picture", { lane: "patches", tokens: 20 }, 2);
    expect(queue.take(100)).toMatchObject({ items: ["picture"] });
    expect(queue.take(100)).toMatchObject({ items: ["text"] });
    expect(queue.take(100)).toMatchObject({ items: ["another picture"] });
  });

  test("that fails fails its requests, and the next one runs", async () => {
    const { clock, batcher, finishOne } = harness(LIMITS);
    const lost = batcher.submit([input("a")]);
    clock.advance(5);
    const kept = batcher.submit([input("b")]);
    await Promise.all([expect(lost).rejects.toThrow("backend"), finishOne(new Error("backend"))]);
    clock.advance(5);
    await finishOne();
    expect(await kept).toEqual(["embedding of b"]);
  });

  test("leaves out what was given up while it waited", async () => {
    const { clock, batcher, batches } = harness(LIMITS);
    const abort = new AbortController();
    const given = batcher.submit([input("a")], abort.signal);
    void batcher.submit([input("b")]);
    abort.abort(new Error("gone"));
    await expect(given).rejects.toThrow("gone");
    clock.advance(5);
    expect(batches.map((batch) => batch.map(({ name }) => name))).toEqual([["b"]]);
  });
});

describe("the batcher refuses", () => {
  test("an input longer than a batch", async () => {
    const { batcher } = harness(LIMITS);
    await expect(batcher.submit([input("a", 21)])).rejects.toMatchObject({
      code: "INPUT_TOO_LONG",
    });
  });

  test("a request that does not fit into the queue, whole", async () => {
    const { batcher } = harness({ ...LIMITS, queuedMax: 3 });
    void batcher.submit([input("a"), input("b")]);
    const two = batcher.submit([input("c"), input("d")]);
    await expect(two).rejects.toMatchObject({ code: "QUEUE_FULL", kind: "resources" });
    expect(batcher.queued).toBe(2);
  });

  test("anything once it closes, while what it took is answered without waiting", async () => {
    const { batcher, finishOne } = harness(LIMITS);
    const taken = batcher.submit([input("a")]);
    const closed = batcher.close();
    await expect(batcher.submit([input("b")])).rejects.toMatchObject({ code: "CLOSING" });
    await finishOne();
    expect(await taken).toEqual(["embedding of a"]);
    await closed;
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SomaError } from "../../../base/errors.ts";
import {
  HIGHEST_SIGNED_FILE,
  LOG_FILE,
  type LogStore,
  openLogStore,
} from "../../../node/storage/log-store.ts";
import { toHex } from "../../../protocol/base/bytes.ts";
import { encodeCommit } from "../../../protocol/consensus/commit.ts";
import type { RecoveredRecord } from "../../../protocol/consensus/events.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { CrashDisk, Dead, type Death } from "../../support/crash-disk.ts";
import { type Appended, LOG_IDENTITY, type LogStep, madeSteps } from "../../support/log-records.ts";

const SALT = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
/** Of recover(): everything, whatever the round. */
const ALL_ROUNDS = 1000;

function open(disk: CrashDisk): LogStore {
  return openLogStore({ disk, identity: LOG_IDENTITY, salt: SALT });
}

function append(store: LogStore, records: readonly Appended[]): void {
  for (const record of records) {
    if (record.kind === "applied") store.appendApplied(record.applied);
    else store.append([record]);
  }
}

interface Progress {
  /** Records handed to the store, and those before the last flush that was answered. */
  appended: number;
  flushed: number;
  flushedRound: number;
  askedRound: number;
}

/** Append the steps until the disk dies. */
function write(disk: CrashDisk, steps: readonly LogStep[]): Progress {
  const progress: Progress = { appended: 0, flushed: 0, flushedRound: 0, askedRound: 0 };
  try {
    const store = open(disk);
    store.recover({ ownIndex: 0, gcDepthRounds: ALL_ROUNDS, onFailure: fail });
    for (const { records, signedRound } of steps) {
      append(store, records);
      progress.appended += records.length;
      if (signedRound === undefined) continue;
      const { appended } = progress;
      progress.askedRound = signedRound;
      store.flush(signedRound, () => {
        progress.flushed = appended;
        progress.flushedRound = signedRound;
      });
      if (disk.hasDied) break;
    }
  } catch (error) {
    if (!(error instanceof Dead)) throw error;
  }
  return progress;
}

function fail(error: SomaError): void {
  throw error;
}

function encoded(record: RecoveredRecord | Appended): string {
  if ("bytes" in record) return `${record.kind} ${toHex(record.bytes)}`;
  if (record.kind === "block") return `block ${toHex(record.block.bytes)}`;
  if (record.kind === "commit") return `commit ${toHex(encodeCommit(record.commit))}`;
  return "applied";
}

interface Found {
  readonly records: readonly string[];
  readonly round: number;
  readonly appliedIndex: number;
  readonly commits: number;
  readonly cutBytes: number;
}

function read(disk: CrashDisk): Found {
  const store = open(disk);
  const { log, applied, lastCommitIndex, cutBytes } = store.recover({
    ownIndex: 0,
    gcDepthRounds: ALL_ROUNDS,
    onFailure: fail,
  });
  return {
    records: [...log.records].map(encoded),
    round: log.highestSignedRound,
    appliedIndex: applied?.index ?? 0,
    commits: lastCommitIndex,
    cutBytes,
  };
}

/** How many of the appended records the log begins with; the rest of it must be none. */
function prefixLength(found: Found, steps: readonly LogStep[]): number {
  const wanted = steps.flatMap(({ records }) => records);
  let length = 0;
  let at = 0;
  for (const record of wanted) {
    if (record.kind !== "applied") {
      if (at === found.records.length) break;
      expect(found.records[at++]).toBe(encoded(record));
    }
    length++;
  }
  expect(at).toBe(found.records.length);
  return length;
}

const seed = (): fc.Arbitrary<number> => fc.integer({ min: 0, max: 1_000_000 });

describe("a log that dies at any call", () => {
  test.each<Death>(["kill", "power"])(
    "by %s keeps a whole start of what was appended, and all that was flushed",
    (death) => {
      fc.assert(
        fc.property(seed(), fc.integer({ min: 0, max: 60 }), (number, diesAt) => {
          const rng = seededRng(number, "crash");
          const steps = madeSteps(8, rng);
          const disk = new CrashDisk(rng);
          disk.diesAt = diesAt;
          const progress = write(disk, steps);
          disk.revive(death);
          const found = read(disk);
          expect(prefixLength(found, steps)).toBeGreaterThanOrEqual(progress.flushed);
          expect(found.round).toBeGreaterThanOrEqual(progress.flushedRound);
          expect(found.round).toBeLessThanOrEqual(progress.askedRound);
          expect(found.appliedIndex).toBeLessThanOrEqual(found.commits); // one watermark
          expect(read(disk)).toEqual({ ...found, cutBytes: 0 }); // what is cut is cut once
        }),
        { numRuns: 300 },
      );
    },
  );

  test("goes on from where it was, life after life", () => {
    fc.assert(
      fc.property(seed(), (number) => {
        const rng = seededRng(number, "lives");
        const steps = madeSteps(10, rng);
        const all = steps.flatMap(({ records }) => records);
        const disk = new CrashDisk(rng);
        for (let life = 0; life < 6; life++) {
          disk.diesAt = disk.callCount + rng.uniform(12);
          try {
            const store = open(disk);
            const recovered = store.recover({
              ownIndex: 0,
              gcDepthRounds: ALL_ROUNDS,
              onFailure: fail,
            });
            let skip = [...recovered.log.records].length;
            const rest = all.filter((record) => record.kind === "applied" || skip-- <= 0);
            for (const record of rest) {
              if (record.kind === "applied") continue;
              append(store, [record]);
              store.flush(undefined, () => undefined);
            }
          } catch (error) {
            if (!(error instanceof Dead)) throw error;
          }
          disk.revive("power");
        }
        const blocksAndCommits = all.filter(({ kind }) => kind !== "applied").map(encoded);
        const { records } = read(disk);
        expect(records).toEqual(blocksAndCommits.slice(0, records.length));
      }),
      { numRuns: 100 },
    );
  });
});

describe("damage to the files", () => {
  function written(number: number): { disk: CrashDisk; steps: readonly LogStep[] } {
    const rng = seededRng(number, "damage");
    const steps = madeSteps(6, rng);
    const disk = new CrashDisk(rng);
    write(disk, steps);
    disk.revive("kill");
    return { disk, steps };
  }

  test.each([LOG_FILE, HIGHEST_SIGNED_FILE])(
    "a bit turned anywhere in %s that was promised is an error that names the file, exit code 5",
    (name) => {
      fc.assert(
        fc.property(seed(), fc.nat(), (number, place) => {
          const { disk, steps } = written(number);
          const before = read(disk);
          const bit = place % (disk.bytesOf(name).length * 8);
          disk.flip(name, bit);
          const isPadding = name === HIGHEST_SIGNED_FILE && bit >= 36 * 8 && bit < 4096 * 8;
          try {
            expect(read(disk)).toEqual(before);
            expect(isPadding).toBe(true); // only what holds nothing may change unnoticed
          } catch (error) {
            if (!(error instanceof SomaError)) throw error;
            expect(error.kind).toBe("corrupt");
            expect(error.exitCode).toBe(5);
            expect(error.message).toContain(name);
          }
          expect(steps.length).toBeGreaterThan(0);
        }),
        { numRuns: 400 },
      );
    },
  );

  test("a log shorter than what was promised is an error", () => {
    fc.assert(
      fc.property(seed(), fc.nat(), (number, place) => {
        const { disk } = written(number);
        const length = 1 + (place % (disk.bytesOf(LOG_FILE).length - 1));
        disk.open(LOG_FILE).truncateSync(length);
        expect(() => read(disk)).toThrow(SomaError);
      }),
      { numRuns: 50 },
    );
  });

  test("what was appended after the last flush and is damaged is cut off, and told", () => {
    const rng = seededRng(5, "tail");
    const steps = madeSteps(4, rng);
    const disk = new CrashDisk(rng);
    const flushed = write(disk, steps);
    const store = open(disk);
    const size = disk.bytesOf(LOG_FILE).length;
    const [more] = madeSteps(5, seededRng(6, "tail")).slice(8);
    append(store, more?.records ?? []);
    store.flush(undefined, () => undefined); // written; and the mark of it never is
    disk.revive("kill");
    disk.flip(LOG_FILE, (size + 100) * 8);
    const found = read(disk);
    expect(found.cutBytes).toBeGreaterThan(0);
    expect(prefixLength(found, steps)).toBe(flushed.appended);
  });

  test("a record that someone hid in his transactions does not pass for one", () => {
    const rng = seededRng(7, "hidden");
    const disk = new CrashDisk(rng);
    write(disk, madeSteps(3, rng));
    disk.revive("kill");
    const whole = disk.bytesOf(LOG_FILE).slice();
    // A torn tail that holds a whole log of another salt, marks of durability and all.
    const other = new CrashDisk(seededRng(8, "hidden"));
    const stranger = openLogStore({ disk: other, identity: LOG_IDENTITY, salt: SALT.toReversed() });
    for (const { records } of madeSteps(6, rng)) append(stranger, records);
    stranger.flush(6, () => undefined);
    disk.open(LOG_FILE).writeSync(whole.length, other.bytesOf(LOG_FILE));
    expect(read(disk).cutBytes).toBe(other.bytesOf(LOG_FILE).length);
    expect(disk.bytesOf(LOG_FILE)).toEqual(whole);
  });

  test("the log of another network is refused", () => {
    const { disk } = written(1);
    const identity = new Uint8Array(32).fill(1);
    expect(() => openLogStore({ disk, identity })).toThrow(/another network/);
  });

  test("a log that was removed begins anew, and what was signed is remembered", () => {
    const { disk } = written(2);
    const { round } = read(disk);
    disk.files.delete(LOG_FILE);
    expect(read(disk)).toMatchObject({ records: [], round, commits: 0 });
    expect(round).toBe(6);
  });
});

describe("a disk that fails", () => {
  test.each([
    ["EIO", "WRITE_FAILED"],
    ["ENOSPC", "DISK_FULL"],
  ])(
    "%s on sync stops the store: no answer, one error, nothing written after it",
    (code, failure) => {
      const rng = seededRng(3, "failure");
      const [first, second, third] = madeSteps(3, rng);
      const disk = new CrashDisk(rng);
      const store = open(disk);
      const errors: SomaError[] = [];
      store.recover({ ownIndex: 0, gcDepthRounds: 60, onFailure: (error) => errors.push(error) });
      append(store, first?.records ?? []);
      disk.nextSyncError = Object.assign(new Error(code), { code });
      let answers = 0;
      store.flush(1, () => answers++);
      const { callCount } = disk;
      append(store, second?.records ?? []);
      append(store, third?.records ?? []);
      store.flush(2, () => answers++);
      store.close();
      expect(errors.map((error) => error.code)).toEqual([failure]);
      expect(answers).toBe(0);
      expect(disk.callCount).toBe(callCount);
    },
  );

  test("a record that no longer reads as it was written is never handed out", () => {
    const rng = seededRng(4, "rot");
    const steps = madeSteps(3, rng);
    const disk = new CrashDisk(rng);
    const store = open(disk);
    const errors: SomaError[] = [];
    store.recover({ ownIndex: 0, gcDepthRounds: 60, onFailure: (error) => errors.push(error) });
    for (const { records } of steps) append(store, records);
    store.flush(undefined, () => undefined);
    disk.flip(LOG_FILE, 200 * 8);
    const given: Uint8Array[] = [];
    const [block] = steps[0]?.records ?? [];
    if (block?.kind !== "block") throw new Error("the first record is a block");
    store.readBlocks([block.block.ref], Infinity, (blocks) => given.push(...blocks));
    expect(given).toEqual([]);
    expect(errors.map((error) => error.code)).toEqual(["LOG_CORRUPT"]);
  });
});

describe("reading", () => {
  function filled(): { store: LogStore; steps: readonly LogStep[]; disk: CrashDisk } {
    const rng = seededRng(11, "reading");
    const steps = madeSteps(30, rng);
    const disk = new CrashDisk(rng);
    write(disk, steps);
    disk.revive("kill");
    const store = open(disk);
    return { store, steps, disk };
  }

  test("blocks come by reference, in the order asked for, until the size is passed", () => {
    const { store, steps } = filled();
    const blocks = steps.flatMap(({ records }) =>
      records.flatMap((record) => (record.kind === "block" ? record.block : [])),
    );
    const asked = [blocks[40], blocks[3], blocks[77]].flatMap((block) => block ?? []);
    const unknown = { round: 3, author: 1, digest: new Uint8Array(32) };
    const refs = [unknown, ...asked.map(({ ref }) => ref)];
    const got: (readonly Uint8Array[])[] = [];
    store.readBlocks(refs, Infinity, (found) => got.push(found));
    store.readBlocks(refs, 1, (found) => got.push(found));
    expect(got).toEqual([asked.map(({ bytes }) => bytes), [asked[0]?.bytes]]);
  });

  test("what is appended is readable at once, written or not", () => {
    const { store } = filled();
    const [step] = madeSteps(31, seededRng(12, "reading")).slice(60);
    const [record] = step?.records ?? [];
    if (record?.kind !== "block") throw new Error("a step begins with a block");
    store.append([record]);
    const got: (readonly Uint8Array[])[] = [];
    store.readBlocks([record.block.ref], Infinity, (found) => got.push(found));
    store.readLastBlock(record.block.author, (found) =>
      got.push(found === undefined ? [] : [found]),
    );
    expect(got).toEqual([[record.block.bytes], [record.block.bytes]]);
    expect(store.lastRound(record.block.author)).toBe(31);
  });

  test("commits come by index, and blocks that follow one", () => {
    const { store, steps } = filled();
    const records = steps.flatMap((step) => step.records).filter(({ kind }) => kind !== "applied");
    const commits = records.flatMap((record) => (record.kind === "commit" ? record.commit : []));
    const got: (readonly Uint8Array[])[] = [];
    store.readCommits(2, 4, (found) => got.push(found));
    store.readCommits(commits.length, commits.length + 9, (found) => got.push(found));
    store.readCommits(commits.length + 1, commits.length + 9, (found) => got.push(found));
    expect(got).toEqual([
      commits.slice(1, 4).map(encodeCommit),
      commits.slice(-1).map(encodeCommit),
      [],
    ]);
    const at = records.findIndex((record) => record.kind === "commit" && record.commit.index === 5);
    const behind = records.slice(at).flatMap((each) => (each.kind === "block" ? each.block : []));
    let after: readonly Uint8Array[] = [];
    store.readBlocksAfter(5, 6, (found) => {
      after = found;
    });
    expect(after).toEqual(behind.slice(0, 6).map(({ bytes }) => bytes));
  });

  test("recovery hands out what the core needs and no more than the rounds above its gc round", () => {
    const { store, steps } = filled();
    const { log } = store.recover({ ownIndex: 0, gcDepthRounds: 5, onFailure: fail });
    const given = new Set([...log.records].map(encoded));
    const records = steps.flatMap((step) => step.records);
    const commits = records.flatMap((record) => (record.kind === "commit" ? record.commit : []));
    const gcRound = (commits.at(-1)?.leader.round ?? 0) - 5;
    for (const record of records) {
      if (record.kind === "applied") continue;
      const round = record.kind === "block" ? record.block.round : record.commit.leader.round;
      if (round > gcRound) expect(given.has(encoded(record))).toBe(true);
      if (round < gcRound - 1) expect(given.has(encoded(record))).toBe(false);
    }
  });
});

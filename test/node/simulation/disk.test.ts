/** A simulated disk keeps what was synced, whatever happens, and of the rest each sector or not. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SimulatedDisk } from "../../../node/simulation/disk.ts";
import { EventQueue } from "../../../node/simulation/event-queue.ts";
import { Host } from "../../../node/simulation/host.ts";
import type { DiskFile } from "../../../node/storage/disk.ts";
import { seededRng } from "../../../tokenizers/random.ts";

interface Machine {
  readonly queue: EventQueue;
  readonly disk: SimulatedDisk;
  /** In a process of its own. */
  readonly open: () => DiskFile;
}

function machine(seed: number): Machine {
  const queue = new EventQueue();
  const disk = new SimulatedDisk(queue, seededRng(seed, "disk"));
  const open = (): DiskFile => {
    const host = new Host(() => undefined);
    let file: DiskFile | undefined;
    host.start(() => {
      file = disk.mount(host).open("log");
    });
    if (file === undefined) throw new Error("a process that runs opens a file");
    return file;
  };
  return { queue, disk, open };
}

const bytes = fc.uint8Array({ minLength: 1, maxLength: 2000 });

describe("after the machine has lost its power", () => {
  test("what was synced is there, and of what was not each sector as it was or as it was written", () => {
    fc.assert(
      fc.property(bytes, bytes, fc.nat(2000), fc.nat(1000), (first, second, place, seed) => {
        const { disk, open } = machine(seed);
        const file = open();
        file.writeSync(0, first);
        file.syncSync();
        const at = Math.min(place, first.length);
        file.writeSync(at, second);
        const written = file.readSync(0, file.sizeSync()).slice();
        disk.crash();
        const after = open();
        const kept = after.readSync(0, after.sizeSync());
        expect(kept.length).toBeGreaterThanOrEqual(first.length);
        for (let start = 0; start < kept.length; start += 512) {
          const end = Math.min(start + 512, kept.length);
          const sector = kept.slice(start, end).join();
          const before = new Uint8Array(end - start);
          before.set(first.slice(start, end));
          expect([before.join(), written.slice(start, end).join()]).toContain(sector);
        }
      }),
    );
  });

  test("a process that dies alone takes nothing along", () => {
    const { open } = machine(1);
    open().writeSync(0, Uint8Array.of(1, 2, 3));
    const after = open();
    expect([...after.readSync(0, after.sizeSync())]).toEqual([1, 2, 3]);
  });
});

test("a sync that was made to fail says so with the name of its failure, and the next one succeeds", () => {
  const { queue, disk, open } = machine(2);
  const file = open();
  const errors: unknown[] = [];
  disk.failNextSync("ENOSPC");
  file.sync((error) => errors.push(error));
  file.sync((error) => errors.push(error));
  while (queue.step());
  expect(errors).toEqual(expect.arrayContaining([undefined]));
  expect(errors).toContainEqual(expect.objectContaining({ code: "ENOSPC" }));
});

test("a process that is gone is answered no more", () => {
  const queue = new EventQueue();
  const disk = new SimulatedDisk(queue, seededRng(3, "disk"));
  const host = new Host(() => undefined);
  let answers = 0;
  host.start(() => {
    disk
      .mount(host)
      .open("log")
      .sync(() => answers++);
  });
  host.kill();
  while (queue.step());
  expect(answers).toBe(0);
});

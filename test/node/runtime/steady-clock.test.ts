import { describe, expect, test } from "vitest";
import { SteadyClock } from "../../../node/runtime/steady-clock.ts";

function clock(): { wall: number; mono: number; readonly clock: SteadyClock } {
  const raw = { wall: 1_000_000, mono: 0 };
  const made = new SteadyClock({ wallMs: () => raw.wall, monotonicMs: () => raw.mono });
  return Object.assign(raw, { clock: made });
}

describe("a steady clock", () => {
  test("goes as the wall's does", () => {
    const raw = clock();
    raw.wall += 500;
    raw.mono += 500;
    expect(raw.clock.now()).toBe(1_000_500);
  });

  test("never goes back, and goes on at half speed until the wall has come up", () => {
    const raw = clock();
    raw.wall -= 3_600_000;
    raw.mono += 10;
    expect(raw.clock.now()).toBe(1_000_005);
    for (let hour = 0; hour < 3; hour++) {
      raw.wall += 3_600_000;
      raw.mono += 3_600_000;
      raw.clock.now();
    }
    expect(raw.clock.now()).toBe(raw.wall); // it has been overtaken
  });

  test("follows the wall forward at once", () => {
    const raw = clock();
    raw.wall += 5000;
    raw.mono += 1;
    expect(raw.clock.now()).toBe(1_005_000);
  });

  test("calls at the time or after it, and not once it is cancelled", async () => {
    const real = new SteadyClock();
    const at = real.now() + 15;
    let cancelled = false;
    const cancel = real.schedule(at, () => {
      cancelled = true;
    });
    const called = await new Promise<number>((resolve) => {
      real.schedule(at, () => {
        resolve(real.now());
      });
      cancel();
    });
    expect(called).toBeGreaterThanOrEqual(at);
    expect(cancelled).toBe(false);
  });
});

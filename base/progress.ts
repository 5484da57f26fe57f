/**
 * Progress of long work, shown on stderr: a bar on a terminal (at most 10 redraws a second), one line per
 * 5 % or 10 s elsewhere. Work reports through the `Progress` interface and never prints.
 */

/** What long work reports to. `done` and `total` are in the same unit (steps, files, seconds). */
export interface Progress {
  update(state: ProgressState): void;
  /** Ends the bar; further updates are ignored. */
  finish(summary?: string): void;
}

export interface ProgressState {
  readonly done: number;
  readonly total: number;
  /** Shown behind the bar, e.g. "loss 0.431". */
  readonly note?: string;
  /** What the rate counts when it is not `done`, e.g. steps when `done` is seconds. */
  readonly count?: number;
}

export const SILENT: Progress = { update: () => undefined, finish: () => undefined };

export type ProgressMode = "bar" | "lines" | "none";

export interface ProgressOptions {
  readonly label: string;
  /** Unit of the rate, e.g. "step" for "12.1 step/s". */
  readonly unit: string;
  readonly mode?: ProgressMode;
  readonly stream?: NodeJS.WriteStream;
}

/** A progress display that suits the stream: a bar on a terminal, lines elsewhere. */
export function terminalProgress(options: ProgressOptions): Progress {
  const stream = options.stream ?? process.stderr;
  const mode = options.mode ?? (stream.isTTY ? "bar" : "lines");
  if (mode === "none") return SILENT;
  const startedMs = performance.now();
  let last: ProgressState = { done: 0, total: 0 };
  let shownMs = Number.NEGATIVE_INFINITY;
  let shownFraction = Number.NEGATIVE_INFINITY;
  let finished = false;
  const draw = (): void => {
    const line = describe(options, last, (performance.now() - startedMs) / 1000);
    stream.write(
      mode === "bar" ? `\r\u001b[K${line.slice(0, Math.max(20, stream.columns - 1))}` : `${line}\n`,
    );
  };
  return {
    update(state) {
      if (finished) return;
      last = state;
      const nowMs = performance.now();
      const fraction = state.total > 0 ? state.done / state.total : 0;
      const due =
        mode === "bar"
          ? nowMs - shownMs >= 100
          : nowMs - shownMs >= 10_000 || fraction - shownFraction >= 0.2;
      if (!due) return;
      shownMs = nowMs;
      shownFraction = fraction;
      draw();
    },
    finish(summary) {
      if (finished) return;
      finished = true;
      // Work that turned out to be none leaves no bar.
      if (mode === "bar" && Number.isFinite(shownMs)) {
        draw();
        stream.write("\n");
      }
      if (summary !== undefined) stream.write(`${options.label}: ${summary}\n`);
    },
  };
}

function describe(options: ProgressOptions, state: ProgressState, elapsedS: number): string {
  const fraction = state.total > 0 ? Math.min(1, state.done / state.total) : 0;
  const filled = Math.round(fraction * 24);
  const bar = `[${"=".repeat(filled)}${filled < 24 ? ">" : ""}${".".repeat(Math.max(0, 23 - filled))}]`;
  const rate = elapsedS > 0 ? (state.count ?? state.done) / elapsedS : 0;
  const etaS = fraction > 0 ? (elapsedS * (1 - fraction)) / fraction : 0;
  const note = state.note === undefined ? "" : `  ${state.note}`;
  return `${options.label} ${bar} ${Math.round(fraction * 100)
    .toString()
    .padStart(3)} %  ${rate.toFixed(1)} ${options.unit}/s  ETA ${clock(etaS)}${note}`;
}

/** Seconds as m:ss. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${(whole % 60).toString().padStart(2, "0")}`;
}

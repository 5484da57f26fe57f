/** `soma bench train-step`: one step here, or in turn with PyTorch, or over sizes. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { writeFileAtomic } from "../../base/files.ts";
import { SILENT, terminalProgress, type Progress } from "../../base/progress.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { PRECISIONS } from "../../models/precision.ts";
import { writePlots } from "../plots/write.ts";
import { badFlag, oneOf, positiveInteger } from "./flags.ts";
import { drawGrowth, measureGrowth, type GrowthAxis, type GrowthSeries } from "./growth.ts";
import { circumstances, unrest, type Circumstances } from "./machine.ts";
import { PAIRS_DEFAULT } from "./paired.ts";
import {
  missingPyTorch,
  peerPython,
  PYTORCH_INSTALL,
  runPyTorchStep,
  type StepSettings,
} from "./pytorch.ts";
import { compareSteps, describeSteps, runOurStep, type PeerComparison } from "./step-comparison.ts";
import { measureTrainStep, type TrainStepResult } from "./train-step.ts";

export interface TrainStepFlags {
  readonly width?: string;
  readonly layers?: string;
  readonly heads?: string;
  readonly tokens?: string;
  readonly batch?: string;
  readonly steps?: string;
  readonly warmup?: string;
  readonly seed?: string;
  readonly threads?: string;
  readonly precision: string;
  /** true: the Python that SOMA_PEER_PYTHON names, else python3. */
  readonly peer?: string | true;
  readonly pairs?: string;
  readonly growth?: boolean;
  readonly out?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const DEFAULTS = { width: 192, layers: 6, heads: 3, tokens: 64, batch: 32, steps: 20, warmup: 3 };
/** The sizes that stand still while another grows, small enough for 1,024 tokens; a curve needs fewer steps a point. */
const GROWTH_DEFAULTS = { ...DEFAULTS, batch: 8, steps: 7, warmup: 2 };

export async function trainStepCommand(flags: TrainStepFlags): Promise<void> {
  const settings = settingsOf(flags);
  const pairs = flags.pairs === undefined ? PAIRS_DEFAULT : positiveInteger(flags.pairs, "--pairs");
  const python = flags.peer === true ? peerPython() : flags.peer;
  const missing = python === undefined ? undefined : await missingPyTorch(python);
  if (missing !== undefined) say(`${missing}; to compare: ${PYTORCH_INSTALL}`);
  const peer = missing === undefined ? python : undefined;
  const where = circumstances();
  const warning = unrest(where);
  if (warning !== undefined && flags.quiet !== true) say(warning);
  if (flags.growth === true) {
    await growth(settings, peer, where, flags);
    return;
  }
  if (peer !== undefined) {
    const progress = progressOf(flags, "ours and PyTorch in turn", "run");
    const compared = await compareSteps(settings, { python: peer, pairs }, progress);
    await tell(compared.result, compared.comparison, where, flags);
    return;
  }
  const result = await measureTrainStep({
    ...settings,
    progress: progressOf(flags, "train step", "step"),
  });
  const comparison: PeerComparison | undefined =
    missing === undefined
      ? undefined
      : { kind: "missing", reason: missing, install: PYTORCH_INSTALL };
  await tell(result, comparison, where, flags);
}

/** @throws SomaError BAD_FLAG (usage) */
function settingsOf(flags: TrainStepFlags): StepSettings {
  const defaults = flags.growth === true ? GROWTH_DEFAULTS : DEFAULTS;
  const number = (name: keyof typeof DEFAULTS): number => {
    const text = flags[name];
    return text === undefined ? defaults[name] : positiveInteger(text, `--${name}`);
  };
  const [width, heads] = [number("width"), number("heads")];
  if (width % heads !== 0) {
    throw badFlag("--heads", String(heads), `give a number that divides --width, ${width}`);
  }
  return {
    width,
    heads,
    layers: number("layers"),
    tokens: number("tokens"),
    batch: number("batch"),
    steps: number("steps"),
    warmup: number("warmup"),
    seed: positiveInteger(flags.seed ?? "1", "--seed"),
    precision: oneOf(flags.precision, "--precision", PRECISIONS),
    // Both sides are told, as each has a default of its own.
    threads: positiveInteger(flags.threads ?? String(availableParallelism()), "--threads"),
  };
}

function progressOf(flags: TrainStepFlags, label: string, unit: string): Progress {
  return flags.quiet === true ? SILENT : terminalProgress({ label, unit });
}

async function tell(
  result: TrainStepResult,
  comparison: PeerComparison | undefined,
  where: Circumstances,
  flags: TrainStepFlags,
): Promise<void> {
  const document = { ...result, ...(comparison === undefined ? {} : { comparison }), ...where };
  if (flags.out !== undefined) await writeDocument(flags.out, "train-step", document);
  if (flags.json === true) {
    printJson(document);
    return;
  }
  say(describeSteps(result, comparison?.kind === "measured" ? comparison : undefined));
  say(`${where.machine}, ${where.date}`);
}

async function growth(
  settings: StepSettings,
  python: string | undefined,
  where: Circumstances,
  flags: TrainStepFlags,
): Promise<void> {
  const axes = await measureGrowth(
    settings,
    {
      ours: runOurStep,
      ...(python === undefined ? {} : { peer: (at: StepSettings) => runPyTorchStep(python, at) }),
    },
    progressOf(flags, "growth", "size"),
  );
  const document = { ...settings, axes, ...where };
  if (flags.out !== undefined) {
    await writeDocument(flags.out, "growth", document);
    const engines = [axes[0]?.ours, axes[0]?.peer].flatMap((of) => of?.points[0]?.engine ?? []);
    const note = `${engines.join(" and ")}, ${settings.threads} threads, ${settings.precision}; ${where.machine}`;
    const { paths, notes } = await writePlots(
      flags.out,
      new Map([["growth", drawGrowth(axes, note)]]),
    );
    for (const line of [...paths, ...notes]) say(line);
  }
  if (flags.json === true) printJson(document);
  else say(describeGrowth(axes));
}

async function writeDocument(folder: string, name: string, document: unknown): Promise<void> {
  await writeFileAtomic(join(folder, `${name}.json`), `${JSON.stringify(document, null, 2)}\n`);
}

function describeGrowth(axes: readonly GrowthAxis[]): string {
  const law = (of: GrowthSeries | undefined): string =>
    of?.fit === undefined || of.tailFit === undefined
      ? "–"
      : `${of.fit.exponent.toFixed(2)} (large: ${of.tailFit.exponent.toFixed(2)})`;
  const rows = axes.flatMap(({ axis, ours, peer }) => [
    ...ours.points.map(({ size, stepMs }) => {
      const other = peer?.points.find((point) => point.size === size);
      const cells = other === undefined ? [] : [other.stepMs.toFixed(1)];
      return [`${axis} ${size}`, stepMs.toFixed(1), ...cells];
    }),
    [`${axis}: exponent`, law(ours), ...(peer === undefined ? [] : [law(peer)])],
    ...[ours.failure, peer?.failure].flatMap((failure) =>
      failure === undefined ? [] : [[`${axis} ${failure.size} failed: ${failure.reason}`]],
    ),
  ]);
  const header = ["growth", "ms a step"];
  return table(axes[0]?.peer === undefined ? header : [...header, "peer"], rows);
}

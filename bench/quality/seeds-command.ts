/**
 * `soma bench quality`: one recipe, several seeds, each trained by `soma train` in a process of its own and judged
 * by the same code as `soma evaluate`. One seed says little: on the emoji set seeds differ by one to two points.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { arch, cpus, platform, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, SomaError } from "../../base/errors.ts";
import { writeFileAtomic } from "../../base/files.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { loadDataset } from "../../datasets/registry.ts";
import { EncoderSession } from "../../models/session.ts";
import { readConfigFile } from "../../training/config.ts";
import { wholeNumber } from "./evaluate-command.ts";
import { evaluateSession, type Evaluation } from "./evaluation.ts";
import { displayName, measuresOf } from "./report.ts";

/** Flags as commander gives them. */
export interface SeedsFlags {
  readonly dataset?: string;
  readonly seeds: string;
  readonly seconds?: string;
  readonly steps?: string;
  readonly set?: readonly string[];
  readonly out: string;
  readonly json?: boolean;
}

interface TrainedRun {
  readonly seed: number;
  readonly folder: string;
  /** What `soma train --json` printed. */
  readonly training: Readonly<Record<string, unknown>>;
}

/** @throws SomaError TRAINING_FAILED (failure) if a run ends badly, and what `evaluate` throws */
export async function seedsCommand(recipe: string, flags: SeedsFlags): Promise<void> {
  const seeds = flags.seeds.split(",").map((text) => wholeNumber(text.trim(), "--seeds"));
  const runs: TrainedRun[] = [];
  for (const seed of seeds) runs.push(await trainedRun(recipe, seed, flags));
  const evaluations: Evaluation[] = [];
  for (const run of runs) {
    say(`seed ${run.seed}: evaluate`);
    evaluations.push(await judge(run, evaluations.length === 0));
  }
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${arch()}, Node ${process.version}`;
  const summary = summarise(evaluations);
  if (flags.json === true) {
    printJson({
      schemaVersion: 1,
      recipe,
      machine,
      runs: runs.map(({ seed, folder, training }, i) => ({
        seed,
        folder,
        training,
        evaluation: evaluations[i],
      })),
      summary,
    });
    return;
  }
  process.stdout.write(`${seedsTable(seeds, evaluations, summary)}\n\n${machine}\n`);
}

/** Mean and spread of one measure over seeds. */
export interface SeedSummary {
  readonly title: string;
  readonly mean: number;
  /** Sample standard deviation; 0 for one seed. */
  readonly deviation: number;
  readonly values: readonly number[];
}

/** Every measure that all evaluations have, at the full dimension. */
export function summarise(evaluations: readonly Evaluation[]): readonly SeedSummary[] {
  const own = evaluations.map(({ metrics }) => metrics);
  return measuresOf(own).flatMap(({ title, value }) => {
    const values = own.map(value).filter((one) => one !== undefined);
    if (values.length < own.length) return [];
    const mean = values.reduce((sum, one) => sum + one, 0) / values.length;
    const squares = values.reduce((sum, one) => sum + (one - mean) ** 2, 0);
    const deviation = values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1));
    return [{ title, mean, deviation, values }];
  });
}

function seedsTable(
  seeds: readonly number[],
  evaluations: readonly Evaluation[],
  summary: readonly SeedSummary[],
): string {
  const [first] = evaluations;
  const floors = (first?.results ?? []).slice(1).flatMap(({ name, cuts }) => {
    const metrics = cuts.at(-1);
    return metrics === undefined ? [] : [{ name, metrics }];
  });
  const rows = measuresOf(evaluations.map(({ metrics }) => metrics)).flatMap(
    ({ title, value, format }) => {
      const found = summary.find((one) => one.title === title);
      if (found === undefined) return [];
      return [
        [
          title,
          ...floors.map(({ metrics }) => {
            const floor = value(metrics);
            return floor === undefined ? "–" : format(floor);
          }),
          ...found.values.map(format),
          `${format(found.mean)} ± ${format(found.deviation)}`,
        ],
      ];
    },
  );
  const names = [
    ...floors.map(({ name }) => displayName(name)),
    ...seeds.map((seed) => `seed ${seed}`),
  ];
  return table(["", ...names, "mean ± sd"], rows);
}

/** Its result is kept in the run folder, so that an interrupted bench goes on where it was. */
const RESULT_FILE = "bench.json";

async function trainedRun(recipe: string, seed: number, flags: SeedsFlags): Promise<TrainedRun> {
  const folder = join(flags.out, `${recipe}-seed-${seed}`);
  const args = [
    "train",
    recipe,
    ...["--seed", String(seed), "--out", folder, "--json"],
    ...(flags.dataset === undefined ? [] : ["--dataset", flags.dataset]),
    ...(flags.seconds === undefined ? [] : ["--seconds", flags.seconds]),
    ...(flags.steps === undefined ? [] : ["--steps", flags.steps]),
    ...(flags.set ?? []).flatMap((assignment) => ["--set", assignment]),
  ];
  const path = join(folder, RESULT_FILE);
  const earlier = await readFile(path, "utf8").catch(() => undefined);
  if (earlier !== undefined) {
    const result = JSON.parse(earlier) as { args: string[]; training: Record<string, unknown> };
    if (JSON.stringify(result.args) === JSON.stringify(args)) {
      say(`seed ${seed}: ${folder} is done`);
      return { seed, folder, training: result.training };
    }
  }
  say(`seed ${seed}: soma ${args.join(" ")}`);
  const training = await runSoma(args, seed);
  await writeFileAtomic(path, `${JSON.stringify({ args, training }, undefined, 2)}\n`);
  return { seed, folder, training };
}

/** A child `soma` with its progress on our stderr. @returns the last JSON document of its stdout */
async function runSoma(
  args: readonly string[],
  seed: number,
): Promise<Readonly<Record<string, unknown>>> {
  const cli = fileURLToPath(new URL("../../cli.js", import.meta.url));
  const child = spawn(process.execPath, [cli, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve(code ?? (signal === "SIGINT" ? 130 : 1));
    });
  });
  if (exitCode !== 0) {
    throw new SomaError({
      code: "TRAINING_FAILED",
      kind: exitCode === 130 ? "interrupted" : "failure",
      what: `training with seed ${seed} ended with exit code ${exitCode}`,
      next: "see its message above; finished seeds are kept",
    });
  }
  const last = output.trim().split("\n").at(-1);
  assert(last !== undefined, "soma train --json prints a document");
  return JSON.parse(last) as Record<string, unknown>;
}

/** @param floors the floors do not depend on the seed: once is enough */
async function judge(run: TrainedRun, floors: boolean): Promise<Evaluation> {
  const named = (await readConfigFile(join(run.folder, "config.yaml"))).values["dataset"];
  assert(typeof named === "string", "a run's config names its dataset");
  const session = await EncoderSession.open(run.folder);
  try {
    const dataset = await loadDataset(named, {});
    return (await evaluateSession(session, { dataset, split: "test", floors })).evaluation;
  } finally {
    session.dispose();
  }
}

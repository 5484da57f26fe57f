/** All groups of a case file, answered: what the code decides, whatever the file expects. */
import { readFile } from "node:fs/promises";
import { SomaError } from "../../base/errors.ts";
import {
  checkClockCase,
  checkCommitterCase,
  checkLinearizerCase,
  checkManagerCase,
  checkValidityCase,
} from "./case-checks.ts";
import { type CaseFile, parseCaseFile } from "./case-file.ts";
import { type CommitterAnswer, runCommitterCase } from "./committer-cases.ts";
import {
  type ClockAnswer,
  type LinearizerAnswer,
  type ManagerAnswer,
  runClockCase,
  runLinearizerCase,
  runManagerCase,
  runScoringCase,
  type ScoringAnswer,
} from "./component-cases.ts";
import { runValidityCase, type ValidityAnswer } from "./validity-cases.ts";

export interface Answers {
  readonly cases: readonly CommitterAnswer[];
  readonly linearizer: readonly LinearizerAnswer[];
  readonly thresholdClock: readonly ClockAnswer[];
  readonly scoring: readonly ScoringAnswer[];
  readonly blockValidity: readonly ValidityAnswer[];
  readonly blockManager: readonly ManagerAnswer[];
}

/** @throws SomaError BAD_CASE naming the case and the field: all cases are looked through before one is answered */
export function answerCases(file: CaseFile): Answers {
  file.cases.forEach(checkCommitterCase);
  [...file.linearizer, ...file.scoring].forEach(checkLinearizerCase);
  file.thresholdClock.forEach(checkClockCase);
  file.blockValidity.forEach(checkValidityCase);
  file.blockManager.forEach(checkManagerCase);
  return {
    cases: file.cases.map(runCommitterCase),
    linearizer: file.linearizer.map(runLinearizerCase),
    thresholdClock: file.thresholdClock.map(runClockCase),
    scoring: file.scoring.map(runScoringCase),
    blockValidity: file.blockValidity.map(runValidityCase),
    blockManager: file.blockManager.map(runManagerCase),
  };
}

/** @throws SomaError if there is no such file, or it is not in the format of the cases */
export async function readCaseFile(path: string): Promise<CaseFile> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new SomaError(
      {
        code: "NO_CASE_FILE",
        kind: "notFound",
        what: `cannot read ${path}`,
        next: "give a file in the format of mysticeti-cases.json",
      },
      { cause },
    );
  });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new SomaError(
      {
        code: "NOT_JSON",
        kind: "usage",
        what: `${path} is not JSON (${cause instanceof Error ? cause.message : "unreadable"})`,
        next: "give a file in the format of mysticeti-cases.json",
      },
      { cause },
    );
  }
  return parseCaseFile(document, path);
}

/** How a run of `soma bench consensus` fails. */
import { SomaError } from "../../../base/errors.ts";

export function benchFailed(what: string): SomaError {
  return new SomaError({ code: "BENCH_FAILED", kind: "failure", what });
}

/** "validator 2", "validators 0 and 2". @param indices not empty */
export function validatorNames(indices: readonly number[]): string {
  const last = indices.at(-1);
  return indices.length === 1
    ? `validator ${last}`
    : `validators ${indices.slice(0, -1).join(", ")} and ${last}`;
}

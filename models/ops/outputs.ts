/** What a kernel gave, by position. */
import { present } from "../../base/errors.ts";
import type { Tensor } from "../backend.ts";

/** Its first output; the others, which are not wanted here, are disposed. */
export function first(outputs: readonly Tensor[]): Tensor {
  for (const other of outputs.slice(1)) other.dispose();
  return present(outputs[0], "a kernel has an output");
}

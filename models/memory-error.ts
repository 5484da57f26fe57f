/** Tensor memory that ran out, told as what it is. */
import { SomaError } from "../base/errors.ts";

/** As TensorFlow and our own kernels (native/kernels.cc) put it; both name the tensor. */
const PATTERN =
  /OOM when allocating tensor with shape ?(\[[^\]]*\])|(\w+): no memory for an output of (\[[^\]]*\])/;

/**
 * Run what computes with tensors. @throws SomaError OUT_OF_MEMORY (resources) naming the tensor that was asked for, if
 * there was no memory for it; other errors as they are
 */
export function namingTensors<T>(compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    const found = PATTERN.exec(error instanceof Error ? error.message : "");
    if (found === null) throw error;
    const [, shape, kernel, ownShape] = found;
    const by = kernel === undefined ? "" : ` that ${kernel} makes`;
    throw new SomaError({
      code: "OUT_OF_MEMORY",
      kind: "resources",
      what: `there is no memory for a tensor of ${shape ?? ownShape ?? "unknown shape"}${by}`,
      next: "take smaller batches (--batch-size, with --set accumulate for the same total), or a smaller encoder",
    });
  }
}

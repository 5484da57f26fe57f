/** Every op of models/ops as the tests call it, and how close it must come to which oracle. */
import { present } from "../../base/errors.ts";
import { tf, type Tensor, type Tensor1D, type Tensor2D } from "../../models/backend.ts";
import { attention, attentionComposed } from "../../models/ops/attention.ts";
import {
  infoNceComposed,
  infoNceLoss,
  sigmoidLoss,
  sigmoidLossComposed,
} from "../../models/ops/contrastive-loss.ts";
import {
  softmaxCrossEntropy,
  softmaxCrossEntropyComposed,
} from "../../models/ops/cross-entropy.ts";
import { gatherRows, gatherRowsComposed } from "../../models/ops/gather.ts";
import { gelu, geluComposed } from "../../models/ops/gelu.ts";
import {
  l2Normalise,
  l2NormaliseComposed,
  unitPrefix,
  unitPrefixComposed,
} from "../../models/ops/l2-normalise.ts";
import { layerNorm, layerNormComposed } from "../../models/ops/layer-norm.ts";
import { linear, linearComposed } from "../../models/ops/linear.ts";
import { matMul, matMulComposed } from "../../models/ops/mat-mul.ts";
import {
  meanPool,
  meanPoolComposed,
  weightedSum,
  weightedSumComposed,
} from "../../models/ops/mean-pool.ts";
import { relu, reluComposed } from "../../models/ops/relu.ts";
import { maskedSoftmax, maskedSoftmaxComposed } from "../../models/ops/softmax.ts";
import type { OpCall } from "./ops-cases.ts";

export interface OpEntry {
  /** Fused where that is active. */
  readonly face: OpCall;
  /** Of tfjs ops. */
  readonly composed: OpCall;
  /**
   * Largest gap of any value or gradient, as a share of the largest one of its tensor (`distance` in ops-cases.ts), in
   * float32 against an oracle in float64. Two float32 answers may lie on either side of the truth: twice this.
   */
  readonly tolerance: number;
}

type Tensors = Readonly<Record<string, Tensor>>;
type Options = Readonly<Record<string, number | string>>;

const take = (tensors: Tensors, name: string): Tensor => present(tensors[name], name);
const matrix = (tensors: Tensors, name: string): Tensor2D => take(tensors, name) as Tensor2D;
const number = (options: Options, name: string): number => Number(present(options[name], name));
/** { name: tensor }, or nothing where a case leaves it out. */
const optional = <Name extends string>(
  tensors: Tensors,
  name: Name,
): Partial<Record<Name, Tensor>> =>
  tensors[name] === undefined ? {} : ({ [name]: tensors[name] } as Record<Name, Tensor>);

const entry = <Op>(
  face: Op,
  composed: Op,
  call: (op: Op, tensors: Tensors, options: Options) => Tensor,
  tolerance: number,
): OpEntry => ({
  face: (tensors, options) => call(face, tensors, options),
  composed: (tensors, options) => call(composed, tensors, options),
  tolerance,
});

/**
 * The one table of tolerances: `OpEntry.tolerance` of each op. Measured are half of these or less, on the stored
 * cases and on thousands of made-up ones; the rows that come nearest are short ones, where few numbers cancel.
 */
const TOLERANCES = {
  layerNorm: 3e-6,
  linear: 2e-6,
  attention: 3e-6,
  maskedSoftmax: 1e-6,
  softmaxCrossEntropy: 1e-6,
  infoNceLoss: 3e-6,
  sigmoidLoss: 1e-6,
  gatherRows: 2e-6,
  l2Normalise: 5e-6,
  matMul: 2e-6,
  unitPrefix: 5e-6,
  meanPool: 1e-6,
  weightedSum: 1e-6,
  gelu: 5e-6,
  relu: 1e-7,
} as const;

export const OPS: Readonly<Record<string, OpEntry>> = {
  layerNorm: entry(
    layerNorm,
    layerNormComposed,
    (op, t, o) => op(matrix(t, "x"), take(t, "scale"), take(t, "shift"), number(o, "epsilon")),
    TOLERANCES.layerNorm,
  ),
  linear: entry(
    linear,
    linearComposed,
    (op, t, o) =>
      op(matrix(t, "x"), matrix(t, "weight"), {
        activation: o["activation"] as "none" | "relu" | "gelu",
        ...optional(t, "bias"),
        ...(t["residual"] === undefined ? {} : { residual: matrix(t, "residual") }),
      }),
    TOLERANCES.linear,
  ),
  attention: entry(
    attention,
    attentionComposed,
    (op, t, o) => {
      const shape = {
        size: number(o, "size"),
        units: number(o, "units"),
        heads: number(o, "heads"),
      };
      return op(matrix(t, "qkv"), shape, t["visible"]);
    },
    TOLERANCES.attention,
  ),
  maskedSoftmax: entry(
    maskedSoftmax,
    maskedSoftmaxComposed,
    (op, t, o) =>
      op(matrix(t, "scores"), {
        scale: number(o, "scale"),
        ...(t["visible"] === undefined ? {} : { visible: matrix(t, "visible") }),
      }),
    TOLERANCES.maskedSoftmax,
  ),
  softmaxCrossEntropy: entry(
    softmaxCrossEntropy,
    softmaxCrossEntropyComposed,
    (op, t) => op(matrix(t, "logits"), take(t, "labels") as Tensor1D),
    TOLERANCES.softmaxCrossEntropy,
  ),
  infoNceLoss: entry(
    infoNceLoss,
    infoNceComposed,
    (op, t) => op(matrix(t, "similarities")),
    TOLERANCES.infoNceLoss,
  ),
  sigmoidLoss: entry(
    sigmoidLoss,
    sigmoidLossComposed,
    (op, t) => op(matrix(t, "similarities")),
    TOLERANCES.sigmoidLoss,
  ),
  gatherRows: entry(
    gatherRows,
    // tfjs's own gradient needs a kernel that wasm lacks: there the face is a composition of ours.
    (table, ids) => (tf.getBackend() === "wasm" ? gatherRows : gatherRowsComposed)(table, ids),
    (op, t) => op(matrix(t, "table"), take(t, "ids")),
    TOLERANCES.gatherRows,
  ),
  l2Normalise: entry(
    l2Normalise,
    l2NormaliseComposed,
    (op, t, o) => op(matrix(t, "x"), number(o, "epsilon")),
    TOLERANCES.l2Normalise,
  ),
  meanPool: entry(
    meanPool,
    meanPoolComposed,
    (op, t) => op(matrix(t, "x"), matrix(t, "weights")),
    TOLERANCES.meanPool,
  ),
  matMul: entry(
    matMul,
    matMulComposed,
    (op, t, o) =>
      op(take(t, "a"), take(t, "b"), number(o, "transposeA") === 1, number(o, "transposeB") === 1),
    TOLERANCES.matMul,
  ),
  unitPrefix: entry(
    unitPrefix,
    unitPrefixComposed,
    (op, t, o) => op(matrix(t, "x"), number(o, "cut"), number(o, "epsilon")),
    TOLERANCES.unitPrefix,
  ),
  weightedSum: entry(
    weightedSum,
    weightedSumComposed,
    (op, t) => op(matrix(t, "x"), matrix(t, "weights")),
    TOLERANCES.weightedSum,
  ),
  gelu: entry(gelu, geluComposed, (op, t) => op(take(t, "x")), TOLERANCES.gelu),
  relu: entry(relu, reluComposed, (op, t) => op(take(t, "x")), TOLERANCES.relu),
};

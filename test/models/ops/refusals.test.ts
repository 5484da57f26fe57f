/** What does not fit is refused by name and shape before a number is read: by our kernels, and by the ops in front. */
import { beforeAll, describe, expect, test } from "vitest";
import {
  callKernel,
  fusedKernels,
  startBackend,
  tf,
  type KernelAttributes,
  type Tensor,
  type Rank,
  type Tensor2D,
} from "../../../models/backend.ts";
import { attention } from "../../../models/ops/attention.ts";
import { infoNceLoss, sigmoidLoss } from "../../../models/ops/contrastive-loss.ts";
import { softmaxCrossEntropy } from "../../../models/ops/cross-entropy.ts";
import { unitPrefix } from "../../../models/ops/l2-normalise.ts";
import { layerNorm } from "../../../models/ops/layer-norm.ts";
import { linear } from "../../../models/ops/linear.ts";
import { matMul } from "../../../models/ops/mat-mul.ts";
import { meanPool } from "../../../models/ops/mean-pool.ts";
import { maskedSoftmax } from "../../../models/ops/softmax.ts";

let fused: readonly string[];
beforeAll(async () => {
  await startBackend();
  fused = fusedKernels();
});

/** Inputs as "f 3 4" (float32) or "i 2" (int32): ones of that shape. */
type Input = string;

function onesOf(input: Input): Tensor {
  const [kind, ...shape] = input.split(" ");
  return tf.ones(shape.map(Number), kind === "i" ? "int32" : "float32");
}

interface Refusal {
  readonly kernel: string;
  readonly inputs: readonly Input[];
  readonly attributes?: KernelAttributes;
  readonly outputs: number;
  /** What is said after the kernel's name. */
  readonly says: string;
}

const integers = (values: Readonly<Record<string, number>>): KernelAttributes => ({
  integers: values,
});
const EPSILON: KernelAttributes = { floats: { epsilon: 1e-5 } };
const LINEAR = { activation: 0, has_bias: 0, has_residual: 0, keeps_before: 1, N: 0 };
const STACK = { layers: 0, count: 1, N: 1 };
const BACK = { activation: 0, has_bias: 0, wants_input: 1, N: 0 };
const HEADS = { units: 2, heads: 2, N: 0 };
const SCALE = { integers: { N: 0 }, floats: { scale: 1 } };

/** Each kernel: a wrong rank, a wrong size, and what else it must not believe. */
const REFUSALS: readonly Refusal[] = [
  ...refusals("SomaLayerNorm", 2, EPSILON, [
    [["f 6", "f 6", "f 6"], "x is [6], not of rank 2"],
    [["f 2 6", "f 5", "f 6"], "scale is [5], not [6]"],
    [["f 2 6", "f 6", "f 7"], "shift is [7], not [6]"],
    [["f 2 6", "f 1 6", "f 6"], "scale is [1, 6], not [6]"],
  ]),
  ...refusals("SomaLayerNormGradient", 3, {}, [
    [["f 2 6", "f 6", "f 3 2", "f 2 6"], "moments is [3, 2], not [2, 2]"],
    [["f 2 6", "f 6", "f 2 2", "f 3 6"], "dy is [3, 6], not [2, 6]"],
  ]),
  ...refusals("SomaLinear", 2, integers(LINEAR), [
    [["f 2 3", "f 4 5"], "x is [2, 3] and weight [4, 5]"],
    [["f 2 3 1", "f 3 5"], "x is [2, 3, 1], not of rank 2"],
  ]),
  ...refusals("SomaLinear", 2, integers({ ...LINEAR, has_bias: 1, N: 1 }), [
    [["f 2 3", "f 3 5", "f 4"], "bias is [4], not [5]"],
  ]),
  ...refusals("SomaLinear", 2, integers({ ...LINEAR, has_residual: 1, N: 1 }), [
    [["f 2 3", "f 3 5", "f 2 4"], "residual is [2, 4], not [2, 5]"],
  ]),
  ...refusals("SomaLinear", 2, integers({ ...LINEAR, has_bias: 1 }), [
    [["f 2 3", "f 3 5"], "bias is missing"],
  ]),
  ...refusals("SomaLinearStack", 1, integers(STACK), [
    [["f 2 3", "f 4 5"], "layer 0's weight is [4, 5] for 6 numbers"],
    [["f 2 3", "f 3"], "layer 0's weight is [3], not of rank 2"],
    [["f 2 3", "f 0 3"], "layer 0's weight is [0, 3]"],
  ]),
  ...refusals("SomaLinearStack", 1, integers({ ...STACK, count: 2 }), [
    [["f 2 3", "f 3 5"], "layer 1's weight is missing"],
  ]),
  ...refusals("SomaLinearStack", 1, integers({ ...STACK, count: 0 }), [
    [["f 2 3", "f 3 5"], "0 layers"],
  ]),
  ...refusals("SomaLinearStack", 1, integers({ ...STACK, count: 16 }), [
    [["f 2 3", "f 3 5"], "16 layers"],
  ]),
  // Layer 1 has a bias.
  ...refusals("SomaLinearStack", 1, integers({ layers: 4 * 16, count: 2, N: 3 }), [
    [["f 2 3", "f 3 5", "f 5 2", "f 3"], "layer 1's bias is [3], not [2]"],
    [["f 2 3", "f 3 5", "f 4 2", "f 2"], "layer 1's weight is [4, 2] for 10 numbers"],
  ]),
  // Layer 1 adds what layer 0 read.
  ...refusals("SomaLinearStack", 1, integers({ layers: 8 * 16, count: 2, N: 2 }), [
    [["f 2 3", "f 3 5", "f 5 4"], "layer 1 adds rows of another shape"],
    [["f 4 3", "f 3 5", "f 10 3"], "layer 1 adds rows of another shape"],
  ]),
  ...refusals("SomaLinearStack", 1, integers({ ...STACK, layers: 8 }), [
    [["f 2 3", "f 3 3"], "layer 0 adds rows of another shape"],
  ]),
  ...refusals("SomaInkStack", 1, integers(STACK), [
    [["i 2 191", "f 48 5"], "bytes are [2, 191]"],
    [["i 2 192", "f 49 5"], "layer 0 reads rows of 49, of which a patch's 768 are no multiple"],
  ]),
  ...refusals("SomaBagStack", 1, integers(STACK), [
    [["f 6", "i 2 3", "f 2 3", "f 6 5"], "table is [6], not of rank 2"],
    [["f 4 6", "i 6", "f 6", "f 6 5"], "ids is [6], not of rank 2"],
    [["f 4 6", "i 2 3", "f 3 2", "f 6 5"], "weights is [3, 2], not [2, 3]"],
    [["f 1 6", "i 2 3", "f 2 3", "f 6 5"], "id 1 in a table [1, 6]"],
    [["f 4 6", "i 2 3", "f 2 3", "f 3 5"], "layer 0's weight is [3, 5] for a table [4, 6]"],
    [["f 4 6", "i 2 3", "f 2 3", "f 6"], "layer 0's weight is [6], not of rank 2"],
  ]),
  ...refusals("SomaLinearGradient", 3, integers(BACK), [
    [["f 2 3", "f 3 5", "f 2 4"], "dy is [2, 4], not [2, 5]"],
  ]),
  ...refusals("SomaLinearGradient", 3, integers({ ...BACK, activation: 2 }), [
    [["f 2 3", "f 3 5", "f 2 5"], "kept is missing"],
  ]),
  ...refusals("SomaLinearGradient", 3, integers({ ...BACK, activation: 1, N: 1 }), [
    [["f 2 3", "f 3 5", "f 2 5", "f 10"], "kept is [10], not [2, 5]"],
  ]),
  ...refusals("SomaGeluGradient", 1, {}, [[["f 2 3", "f 3 2"], "dy is [3, 2], not [2, 3]"]]),
  ...refusals("SomaMatMul", 1, integers({ transpose_a: 0, transpose_b: 0 }), [
    [["f 2 3", "f 2 3"], "a is [2, 3] and b [2, 3]"],
    [["f 2 3 4", "f 4 3"], "a is [2, 3, 4], not of rank 2"],
  ]),
  ...refusals("SomaMatMul", 1, integers({ transpose_a: 1, transpose_b: 1 }), [
    [["f 2 3", "f 3 3"], "a is [2, 3] and b [3, 3]"],
  ]),
  ...refusals("SomaAttention", 2, integers(HEADS), [
    [["f 5 12"], "qkv is [5, 12]"],
    [["f 4 10"], "qkv is [4, 10]"],
    [["f 4 9"], "qkv is [4, 9]"],
    [["f 4 3 4"], "qkv is [4, 3, 4], not of rank 2"],
  ]),
  ...refusals("SomaAttention", 2, integers({ ...HEADS, heads: 0 }), [[["f 4 12"], "heads 0"]]),
  ...refusals("SomaAttention", 2, integers({ ...HEADS, units: 0 }), [[["f 4 12"], "units 0"]]),
  ...refusals("SomaAttention", 2, integers({ ...HEADS, N: 1 }), [
    [["f 4 12", "f 2 3"], "visible is [2, 3], not [2, 2]"],
  ]),
  ...refusals("SomaAttentionGradient", 1, integers(HEADS), [
    [["f 4 12", "f 4 3", "f 4 2 2", "f 4 4"], "mixed is [4, 3], not [4, 4]"],
    [["f 4 12", "f 4 4", "f 4 2", "f 4 4"], "sums is [4, 2], not [4, 2, 2]"],
    [["f 4 12", "f 4 4", "f 4 2 2", "f 2 4"], "dmixed is [2, 4], not [4, 4]"],
  ]),
  ...refusals("SomaSoftmax", 1, SCALE, [[["f 6"], "scores is [6], not of rank 2"]]),
  ...refusals("SomaSoftmax", 1, { ...SCALE, integers: { N: 1 } }, [
    [["f 2 3", "f 2 4"], "visible is [2, 4], not [2, 3]"],
  ]),
  ...refusals("SomaSoftmaxGradient", 1, { floats: { scale: 1 } }, [
    [["f 2 3", "f 3 3"], "dweights is [3, 3], not [2, 3]"],
  ]),
  ...refusals("SomaCrossEntropy", 2, {}, [
    [["f 2 3", "i 3"], "labels is [3], not [2]"],
    [["f 3", "i 3"], "logits is [3], not of rank 2"],
    // The labels are ones, and there is only class 0.
    [["f 2 1", "i 2"], "label 1 of row 0 with logits [2, 1]"],
  ]),
  ...refusals("SomaInfoNce", 2, {}, [[["f 2 3"], "similarities are [2, 3], not square"]]),
  ...refusals("SomaSigmoidLoss", 2, {}, [[["f 2 3"], "logits are [2, 3], not square"]]),
  ...refusals("SomaGather", 1, {}, [
    [["f 6", "i 2"], "table is [6], not of rank 2"],
    [["f 1 6", "i 2"], "id 1 in a table [1, 6]"],
  ]),
  ...refusals("SomaScatterAdd", 1, integers({ row_count: 3 }), [
    [["f 2 3 4", "i 6"], "rows are [2, 3, 4] and ids [6]"],
  ]),
  ...refusals("SomaScatterAdd", 1, integers({ row_count: 1 }), [
    [["f 2 4", "i 2"], "id 1 in a table of 1 rows"],
  ]),
  ...refusals("SomaScatterAdd", 1, integers({ row_count: -2 }), [
    [["f 0 4", "i 0"], "an output of [-2, 4]"],
  ]),
  ...refusals("SomaScatterAdd", 1, integers({ row_count: 2 ** 40 }), [
    [["f 2 4", "i 2"], "an output of [1099511627776, 4]"],
  ]),
  ...refusals("SomaWeightedSum", 1, {}, [
    [["f 5 3", "f 2 3"], "x is [5, 3] and weights [2, 3]"],
    [["f 6 3", "f 6"], "weights is [6], not of rank 2"],
  ]),
  ...refusals("SomaWeightedSumGradient", 1, {}, [[["f 3 3", "f 2 3"], "[3, 3]"]]),
  ...refusals("SomaUnitRows", 1, { integers: { width: 4 }, ...EPSILON }, [
    [["f 2 3"], "width 4 of rows [2, 3]"],
  ]),
  ...refusals("SomaUnitRows", 1, { integers: { width: 0 }, ...EPSILON }, [
    [["f 2 3"], "width 0 of rows [2, 3]"],
  ]),
  ...refusals("SomaUnitRowsGradient", 1, EPSILON, [
    [["f 2 3", "f 2 4"], "x is [2, 3] and dy [2, 4]"],
    [["f 2 3", "f 1 3"], "x is [2, 3] and dy [1, 3]"],
  ]),
  ...refusals("SomaInk", 1, {}, [[["i 2 191"], "bytes are [2, 191]"]]),
  ...refusals("SomaAdamW", 0, integers({ N: 4 }), [
    [["i 16", "f 3", "f 2", "f 3", "f 3"], "gradient 0 has 2 numbers, its weights 3"],
    [["i 16", "f 3", "f 3", "f 2", "f 3"], "moment 0 has 2 numbers, its weights 3"],
    [["i 16", "f 3", "f 3", "f 3", "f 4"], "square 0 has 4 numbers, its weights 3"],
    [["i 14", "f 3", "f 3", "f 3", "f 3"], "numbers is [14], not [16]"],
  ]),
  ...refusals("SomaAdamW", 0, integers({ N: 3 }), [
    [["i 16", "f 3", "f 3", "f 3"], "3 arrays are not four for each parameter"],
  ]),
  ...refusals("SomaAverage", 0, integers({ N: 2 }), [
    [["i 2", "f 3", "f 2"], "weight 0 has 2 numbers, its weights 3"],
  ]),
  ...refusals("SomaAverage", 0, integers({ N: 1 }), [
    [["i 2", "f 3"], "1 arrays are not two for each parameter"],
  ]),
];

function refusals(
  kernel: string,
  outputs: number,
  attributes: KernelAttributes,
  cases: readonly (readonly [readonly Input[], string])[],
): readonly Refusal[] {
  return cases.map(([inputs, says]) => ({ kernel, outputs, attributes, inputs, says }));
}

const titled = REFUSALS.map((each) => [each.kernel, each.inputs.join(", "), each] as const);

describe("a kernel", () => {
  test.for(titled)("%s refuses %s", ([kernel, , refusal], context) => {
    if (fused.length === 0) context.skip("no fused kernels are active here");
    const { inputs, attributes, outputs, says } = refusal;
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      expect(() => callKernel(kernel, inputs.map(onesOf), outputs, attributes)).toThrow(
        new RegExp(`${kernel}: .*${says.replace(/[[\]]/g, "\\$&")}`),
      );
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  test("is in the list above, whichever it is", (context) => {
    if (fused.length === 0) context.skip("no fused kernels are active here");
    // GELU takes any shape, the norm any arrays.
    const takesAnything = ["SomaGelu", "SomaGlobalNorm"];
    const listed = new Set([...REFUSALS.map(({ kernel }) => kernel), ...takesAnything]);
    expect([...listed].sort()).toEqual(fused.toSorted());
  });

  test("refuses another type by name", (context) => {
    if (fused.length === 0) context.skip("no fused kernels are active here");
    tf.tidy(() => {
      const floats = tf.ones([2, 3]);
      const integersOf = tf.ones([2], "int32");
      expect(() => callKernel("SomaGather", [floats, tf.ones([2])], 1)).toThrow(
        /SomaGather.*int32 tensor/s,
      );
      expect(() => callKernel("SomaGelu", [integersOf], 1)).toThrow(/SomaGelu.*float tensor/s);
    });
  });

  test("works on after a refusal", (context) => {
    if (fused.length === 0) context.skip("no fused kernels are active here");
    tf.tidy(() => {
      expect(() => callKernel("SomaInfoNce", [tf.ones([2, 3])], 2)).toThrow(/not square/);
      const [loss] = callKernel("SomaInfoNce", [tf.ones([2, 2])], 2);
      expect(loss?.dataSync()[0]).toBeCloseTo(Math.LN2, 6);
    });
  });
});

/** In TypeScript, with every backend: a sentence that names the op and the shapes. */
const matrix = (rows: number, columns: number): Tensor2D => tf.ones([rows, columns]);
const BAD_CALLS: readonly (readonly [string, () => Tensor, RegExp])[] = [
  [
    "layerNorm: scale",
    () => layerNorm(matrix(2, 6), tf.ones([5]), tf.ones([6])),
    /layerNorm of \[2, 6\] with a scale of 5/,
  ],
  [
    "layerNorm: shift",
    () => layerNorm(matrix(2, 6), tf.ones([6]), tf.ones([7])),
    /layerNorm of \[2, 6\] with a shift of 7/,
  ],
  [
    "linear: weight",
    () => linear(matrix(2, 3), matrix(4, 5)),
    /linear of x \[2, 3\] and weight \[4, 5\]/,
  ],
  [
    "linear: bias",
    () => linear(matrix(2, 3), matrix(3, 5), { bias: tf.ones([4]) }),
    /linear to 5 with a bias of 4/,
  ],
  [
    "linear: residual",
    () => linear(matrix(2, 3), matrix(3, 5), { residual: matrix(1, 5) }),
    /linear to \[2, 5\] with a residual of \[1, 5\]/,
  ],
  [
    "attention: sequences",
    () => attention(matrix(5, 12), { size: 2, units: 2, heads: 2 }),
    /attention of \[5, 12\] as 2 sequences of 2/,
  ],
  [
    "attention: heads",
    () => attention(matrix(4, 12), { size: 2, units: 2, heads: 3 }),
    /attention of \[4, 12\] with 3 heads/,
  ],
  [
    "attention: mask",
    () => attention(matrix(4, 12), { size: 2, units: 2, heads: 2 }, matrix(2, 3)),
    /attention of \[4, 12\] with another mask/,
  ],
  [
    "maskedSoftmax",
    () => maskedSoftmax(matrix(2, 3), { visible: matrix(2, 4) }),
    /softmax of \[2, 3\] with a mask of \[2, 4\]/,
  ],
  [
    "softmaxCrossEntropy",
    () => softmaxCrossEntropy(matrix(2, 3), tf.ones<Rank.R1>([3], "int32")),
    /softmaxCrossEntropy of \[2, 3\] with 3 labels/,
  ],
  ["infoNceLoss", () => infoNceLoss(matrix(2, 3)), /infoNceLoss of \[2, 3\]/],
  ["sigmoidLoss", () => sigmoidLoss(matrix(2, 3)), /sigmoidLoss of \[2, 3\]/],
  ["unitPrefix", () => unitPrefix(matrix(2, 3), 4), /unitPrefix to 4 of \[2, 3\]/],
  [
    "meanPool",
    () => meanPool(matrix(5, 3), matrix(2, 3)),
    /weightedSum of \[5, 3\] with weights \[2, 3\]/,
  ],
  ["matMul", () => matMul(matrix(2, 3), tf.ones([2, 3, 4])), /matMul of ranks 2 and 3/],
];

describe("an op", () => {
  test.each(BAD_CALLS)("%s", (_title, call, says) => {
    const before = tf.memory().numTensors;
    expect(() => tf.tidy(call)).toThrow(says);
    expect(tf.memory().numTensors).toBe(before);
  });
});

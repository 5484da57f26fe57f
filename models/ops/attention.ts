/** Multi-head self-attention over the visible tokens. Source: Vaswani et al., arXiv 1706.03762. */
import { assert } from "../../base/errors.ts";
import {
  callKernel,
  isFused,
  tf,
  type Rank,
  type Tensor,
  type Tensor2D,
  type Tensor4D,
} from "../backend.ts";
import { differentiable } from "./differentiable.ts";
import { matMul } from "./mat-mul.ts";
import { maskedSoftmaxComposed } from "./softmax.ts";

export interface AttentionShape {
  /** Sequences. */
  readonly size: number;
  /** Tokens of each, padding included. */
  readonly units: number;
  readonly heads: number;
}

/**
 * @param qkv [B·N, 3D]: queries, keys, values, head after head in each
 * @param visible [B, N], 1 for tokens that may be attended to; all without it. A sequence that sees none gets zeros
 * @returns [B·N, D]
 */
export function attention(qkv: Tensor2D, shape: AttentionShape, visible?: Tensor): Tensor2D {
  const { size: B, units: N, heads: H } = shape;
  const text = `attention of [${qkv.shape.join(", ")}]`;
  assert(qkv.shape[0] === B * N, `${text} as ${B} sequences of ${N}`);
  assert(qkv.shape[1] % (3 * H) === 0, `${text} with ${H} heads`);
  assert(visible === undefined || visible.size === B * N, `${text} with another mask`);
  if (!isFused()) return attentionComposed(qkv, shape, visible);
  const masks = visible === undefined ? [] : [visible];
  const integers = { units: N, heads: H, N: masks.length };
  return differentiable([qkv], () => {
    const [mixed, sums] = callKernel("SomaAttention", [qkv, ...masks], 2, { integers }) as [
      Tensor,
      Tensor,
    ];
    return {
      value: mixed,
      saved: [qkv, mixed, sums, ...masks],
      gradient: (dy, saved) => {
        const [input, output, rowSums, ...keptMasks] = saved as [Tensor, Tensor, Tensor];
        return callKernel(
          "SomaAttentionGradient",
          [input, output, rowSums, dy, ...(keptMasks as Tensor[])],
          1,
          { integers },
        );
      },
    };
  }) as Tensor2D;
}

export function attentionComposed(
  qkv: Tensor2D,
  shape: AttentionShape,
  visible?: Tensor,
): Tensor2D {
  const { size: B, units: N, heads: H } = shape;
  const D = qkv.shape[1] / 3;
  const parts = tf.transpose(tf.reshape(qkv, [B, N, 3, H, D / H]), [2, 0, 3, 1, 4]); // [3, B, H, N, D/H]
  const [q, k, v] = tf.unstack(parts) as [Tensor4D, Tensor4D, Tensor4D];
  const scores = tf.reshape<Rank.R2>(matMul(q, k, false, true), [B * H * N, N]);
  const weights = maskedSoftmaxComposed(scores, {
    scale: 1 / Math.sqrt(D / H),
    visible: visible === undefined ? undefined : perQuery(visible, shape),
  });
  const mixed = matMul(tf.reshape<Rank.R4>(weights, [B, H, N, N]), v); // [B, H, N, D/H]
  return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [B * N, D]);
}

/** [B, N] once for every head and query: [B·H·N, N] */
function perQuery(visible: Tensor, { size: B, units: N, heads: H }: AttentionShape): Tensor2D {
  const all = tf.tile(tf.reshape(visible, [B, 1, N]), [1, H * N, 1]);
  return tf.reshape<Rank.R2>(all, [B * H * N, N]);
}

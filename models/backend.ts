/**
 * The tensor door: the one file that names tfjs. Everything else takes `tf` from here.
 * `startBackend()` must have been awaited before the first op. Order: the native binding that set-up compiled
 * against a current TensorFlow, else wasm with explicit-transpose matmul gradients, else plain JavaScript.
 */
import { createRequire } from "node:module";
import type * as Tf from "@tensorflow/tfjs";

const require = createRequire(import.meta.url);
/** The tfjs namespace. CommonJS, so loaded by require; heavy (0.3 s), so this file is only imported by what computes. */
export const tf = require("@tensorflow/tfjs") as typeof Tf;

export type {
  Tensor,
  Tensor1D,
  Tensor2D,
  Tensor3D,
  Tensor4D,
  Variable,
  Scalar,
  Rank,
  TensorLike,
  NamedTensorMap,
} from "@tensorflow/tfjs";

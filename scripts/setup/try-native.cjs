// Run by set-up in a process of its own: loads the binding in the folder given and multiplies two matrices with it, with
// TensorFlow's product or, if a second argument names the library of our own kernels, with ours.
"use strict";
const assert = require("node:assert");
const { join } = require("node:path");
const util = require("node:util");

// Gone in Node ≥ 23; the package's kernels call both (as in models/backend.ts).
util.isNullOrUndefined = (value) => value === null || value === undefined;
util.isArray = Array.isArray;

const folder = process.argv[2];
const quiet = require(join(folder, "quiet.node"));
quiet.hush();
quiet.restore();
const binding = require(join(folder, "tfjs_binding.node"));
const tf = require("@tensorflow/tfjs");
const { NodeJSKernelBackend } = require("@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js");
require("@tensorflow/tfjs-node-gpu/dist/register_all_kernels.js");
tf.registerBackend(
  "tensorflow",
  () => new NodeJSKernelBackend(binding, "@tensorflow/tfjs-node"),
  3,
);
tf.setBackend("tensorflow");
const a = tf.tensor2d([1, 2, 3, 4], [2, 2]);
let product;
if (process.argv[3] === undefined) {
  product = tf.matMul(a, a);
} else {
  assert(require(join(folder, process.argv[3])).names.includes("SomaMatMul"));
  const plain = ["transpose_a", "transpose_b"].map((name) => ({
    name,
    type: binding.TF_ATTR_INT,
    value: 0,
  }));
  [product] = tf.backend().executeMultipleOutputs("SomaMatMul", plain, [a, a], 1);
}
assert.deepStrictEqual(Array.from(product.dataSync()), [7, 10, 15, 22]);

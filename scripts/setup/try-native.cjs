// Run by set-up in a process of its own: loads the binding in the folder given and multiplies two matrices with it.
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
assert.deepStrictEqual(Array.from(tf.matMul(a, a).dataSync()), [7, 10, 15, 22]);

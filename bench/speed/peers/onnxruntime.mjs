// The peer of `soma bench embed`: an ONNX model run by onnxruntime-node on one batch, over and over. Prints one JSON
// document. With --output it runs once, writes the embeddings there (float32, little-endian) and measures nothing.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    entry: { type: "string" }, // file of the package's entry
    model: { type: "string" },
    input: { type: "string" }, // the batch as raw bytes
    type: { type: "string" }, // "uint8" or "int32"
    shape: { type: "string" }, // e.g. 32,16,768
    threads: { type: "string" },
    seconds: { type: "string", default: "10" },
    warmup: { type: "string", default: "3" },
    output: { type: "string" },
  },
});

const ort = createRequire(import.meta.url)(values.entry);
const session = await ort.InferenceSession.create(values.model, {
  executionProviders: ["cpu"],
  graphOptimizationLevel: "all",
  executionMode: "sequential",
  intraOpNumThreads: Number(values.threads),
  interOpNumThreads: 1,
});
const bytes = readFileSync(values.input);
const shape = values.shape.split(",").map(Number);
const whole = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
const data = values.type === "uint8" ? new Uint8Array(whole) : new Int32Array(whole);
const feeds = { [session.inputNames[0]]: new ort.Tensor(values.type, data, shape) };

const embed = async () => {
  const { [session.outputNames[0]]: output } = await session.run(feeds);
  return output.data;
};

if (values.output !== undefined) {
  const embeddings = await embed();
  writeFileSync(
    values.output,
    new Uint8Array(embeddings.buffer, embeddings.byteOffset, embeddings.byteLength),
  );
} else {
  for (let i = 0; i < Number(values.warmup); i++) await embed();
  const timesMs = [];
  const startMs = performance.now();
  const endMs = startMs + 1000 * Number(values.seconds);
  do {
    const beforeMs = performance.now();
    await embed();
    timesMs.push(performance.now() - beforeMs);
  } while (performance.now() < endMs);
  const seconds = (performance.now() - startMs) / 1000;
  timesMs.sort((a, b) => a - b);
  process.stdout.write(
    `${JSON.stringify({
      engine: `onnxruntime-node ${ort.env.versions.node}`,
      threads: Number(values.threads),
      examplesPerSecond: (shape[0] * timesMs.length) / seconds,
      batchMs: timesMs[Math.floor(timesMs.length / 2)],
      peakRssMiB: process.resourceUsage().maxRSS / 1024,
    })}\n`,
  );
}

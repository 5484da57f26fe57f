/** Entry of a decoding thread: a DecodeJob in, a DecodeResult out, the pixels handed over without a copy. */
import { parentPort } from "node:worker_threads";
import { runDecodeJob, type DecodeJob } from "./decode-job.ts";

const port = parentPort;
port?.on("message", (job: DecodeJob) => {
  void runDecodeJob(job).then((result) => {
    if (result.kind !== "decoded") {
      port.postMessage(result);
      return;
    }
    // A small Buffer may be a window on memory that others use: hand over a copy of exactly these bytes then.
    const { pixels, ...size } = result.picture;
    const owned = pixels.byteLength === pixels.buffer.byteLength ? pixels : pixels.slice();
    const bytes = new Uint8Array(owned.buffer as ArrayBuffer, owned.byteOffset, owned.byteLength);
    port.postMessage({ ...result, picture: { ...size, pixels: bytes } }, [bytes.buffer]);
  });
});

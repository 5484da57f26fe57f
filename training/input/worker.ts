/** Entry of a thread that draws batches ahead of the training: an InputJob to begin with, then a step for each request. */
import { parentPort, workerData } from "node:worker_threads";
import { present, SomaError } from "../../base/errors.ts";
import { SAMPLERS } from "../objectives/samplers.ts";
import {
  drawStep,
  openSamplers,
  type InputAnswer,
  type InputJob,
  type InputRequest,
} from "./job.ts";
import { BatchMemory } from "./memory.ts";

const port = present(parentPort, "this is the entry of a thread");
const job = workerData as InputJob;
const samplers = openSamplers(job, SAMPLERS);
/** Of what was drawn and is still read, by ticket. */
const lent = new Map<number, BatchMemory>();
const free: BatchMemory[] = [];

port.on("message", (request: InputRequest) => {
  switch (request.kind) {
    case "draw":
      void answer(request.ticket, request.step).then((message) => {
        port.postMessage(message);
      });
      break;
    case "free": {
      const memory = present(lent.get(request.ticket), "memory is freed once");
      lent.delete(request.ticket);
      free.push(memory);
      break;
    }
  }
});

async function answer(ticket: number, step: number): Promise<InputAnswer> {
  try {
    const ready = await samplers;
    const memory = free.pop() ?? new BatchMemory();
    memory.reset();
    lent.set(ticket, memory);
    return { kind: "drawn", ticket, drawn: drawStep(ready, step, memory, job.part) };
  } catch (error) {
    if (error instanceof SomaError) return { kind: "refused", ticket, failure: error.failure };
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind: "crashed", ticket, stack };
  }
}

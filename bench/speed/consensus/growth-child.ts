/** A process that measures one committee, so that its memory and its compiled code are its own. */
import { measureCommittee, type CommitteeRun } from "./committee-cost.ts";

process.once("message", (run) => {
  process.send?.(measureCommittee(run as CommitteeRun), () => {
    process.disconnect();
  });
});
process.on("disconnect", () => {
  process.exit(); // the parent is gone
});

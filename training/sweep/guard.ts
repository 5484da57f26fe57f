/** Loaded into a trial's process before all else: it ends when the sweep that started it is gone, however that ended. */
import process from "node:process";

process.on("disconnect", () => {
  process.exit(143);
});
// The channel alone must not keep a trial alive that is done.
process.channel?.unref();

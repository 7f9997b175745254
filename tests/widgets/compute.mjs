// Reads a JSON list of meter states on stdin and prints what the page would show for each.
import { readFileSync } from "node:fs";
import { load } from "./load.mjs";

const meter = await load("cache_meter");

const answers = JSON.parse(readFileSync(0, "utf8")).map((state) => {
  const problem = meter.refusal(state);
  if (problem !== null) return { problem };
  const bytes = meter.cacheBytes(state);
  const room = meter.fits(state);
  return {
    // As text: JSON numbers lose digits above 2^53.
    per_token: String(meter.bytesPerToken(state)),
    total: String(bytes),
    baseline: String(meter.baselineBytes(state)),
    users: String(room.users),
    saved: meter.saved(state),
    share: meter.formatShare(meter.saved(state)),
    decimal: meter.formatBytes(bytes),
    binary: meter.formatBytes(bytes, true),
  };
});
process.stdout.write(JSON.stringify(answers));

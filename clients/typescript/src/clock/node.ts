import { uptime } from "node:os";

import type { Clock } from "./clock.js";

/**
 * Node's monotonic clock stands still while the machine sleeps. The time since boot does not, and a machine that was
 * suspended must find out at once that its session is due.
 */
export const machine: Clock = {
  wall: () => Date.now(),
  elapsed: () => uptime() * 1000,
};

import type { Clock } from "./clock.js";

export type { Clock };

/** The clocks that every JavaScript runtime has. */
export const machine: Clock = {
  wall: () => Date.now(),
  elapsed: () => performance.now(),
};

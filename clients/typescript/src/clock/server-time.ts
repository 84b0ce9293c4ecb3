/** What time it is at the authority, and how to wait for a moment there. */

import { machine, type Clock } from "#clock";

/** Knows what time it is at the authority. A test whose clock stands still has one of its own. */
export interface Time {
  /** The time now, in milliseconds since 1970. */
  now(): number;
  /** Resolves when `at` has come, or rejects with the signal's reason. */
  until(at: number, signal?: AbortSignal): Promise<void>;
  /** A reply that has just arrived says that it is this time there. */
  heard(then: number): void;
}

/** The clocks are taken to agree up to so much: a reply takes its time. */
const AGREE = 2_000;
/** No sleep is longer: a machine that was suspended finds out soon. */
const NAP = 10_000;

/**
 * What the authority's last reply said, counted on by a clock that cannot be set. Before the first reply the machine's
 * wall clock is believed.
 */
export class ServerTime implements Time {
  readonly #clock: Clock;
  #heard: { then: number; elapsed: number } | undefined;

  constructor(clock: Clock = machine) {
    this.#clock = clock;
  }

  now(): number {
    const heard = this.#heard;
    return heard === undefined ? this.#clock.wall() : heard.then + this.#clock.elapsed() - heard.elapsed;
  }

  heard(then: number): void {
    const wall = this.#clock.wall();
    const agreed = Math.abs(then - wall) <= AGREE ? wall : then;
    // Replies overtake each other; time there does not go back.
    const latest = this.#heard === undefined ? agreed : Math.max(agreed, this.now());
    this.#heard = { then: latest, elapsed: this.#clock.elapsed() };
  }

  async until(at: number, signal?: AbortSignal): Promise<void> {
    for (let left = at - this.now(); left > 0; left = at - this.now()) await sleep(Math.min(left, NAP), signal);
  }
}

/** Resolves after so many milliseconds, or rejects with the signal's reason. */
export function sleep(millis: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, millis);
    if (signal?.aborted === true) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** A clock that shows what it was told, and knows when the holder that waits for it is at rest. */

import { EventEmitter, once } from "node:events";

import type { Time } from "@tenure/client";

export class ToldTime implements Time {
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #now = 0;
  /** What the holder waits for; undefined while it works. */
  #awaited: number | undefined;

  now(): number {
    return this.#now;
  }

  heard(): void {
    // It is told by the test alone.
  }

  async until(at: number, signal?: AbortSignal): Promise<void> {
    while (this.#now < at) {
      this.#awaited = at;
      this.#changes.emit("rest");
      await once(this.#changes, "time", signal === undefined ? {} : { signal }).finally(
        () => (this.#awaited = undefined),
      );
    }
  }

  tell(now: number): void {
    this.#now = now;
    this.#changes.emit("time");
  }

  /** Resolves when the holder waits for a moment that has not come. */
  async atRest(): Promise<void> {
    while (this.#awaited === undefined || this.#awaited <= this.#now) await once(this.#changes, "rest");
  }
}

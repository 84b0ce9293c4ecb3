/**
 * Listens to a session's own stream, so that an end is known at once. Nothing depends on it: the holder asks now and
 * then all the same.
 */

import type { SessionEvent } from "./api.js";
import { backoff } from "./backoff.js";
import { sleep } from "./clock/server-time.js";
import { RefusedError } from "./errors.js";

/** What a stream tells; `undefined` is a sign of life. */
export type EventStream = AsyncGenerator<SessionEvent | undefined>;

/** A stream tells something every 15 s. One that is silent for so long has been cut off without a word. */
const SILENCE = 40_000;
/** A stream that lasted so long was no failure. */
const LASTED = 60_000;
/** A session has four streams at most, a further one ends the oldest. Of more holders the others come back no sooner. */
const LONGEST_WAIT = 60_000;

/** Opens the stream again and again until `stop`, and asks how the session stands whenever it may have changed; `tell` hears of each event first. */
export async function listen(
  open: (signal: AbortSignal) => EventStream,
  check: () => Promise<void>,
  stop: AbortSignal,
  tell: () => void = () => undefined,
): Promise<void> {
  let failures = 0;
  while (!stop.aborted) {
    const begun = performance.now();
    const wish = await listenOnce(open, check, stop, tell);
    failures = performance.now() - begun < LASTED ? failures + 1 : 1;
    if (isAborted(stop)) return;
    await check();
    await sleep(backoff(failures, wish, Math.random(), LONGEST_WAIT), stop).catch(() => undefined);
  }
}

/** Listens until the stream ends; returns how long the authority asks to be left alone. */
async function listenOnce(
  open: (signal: AbortSignal) => EventStream,
  check: () => Promise<void>,
  stop: AbortSignal,
  tell: () => void,
): Promise<number | undefined> {
  const watch = new SilenceWatch(stop);
  try {
    let isOpen = false;
    for await (const event of open(watch.signal)) {
      watch.heard();
      if (event !== undefined) tell();
      // What happened before it was open is not told.
      if (event !== undefined || !isOpen) await check();
      isOpen = true;
    }
    return undefined;
  } catch (error) {
    return error instanceof RefusedError ? error.retryAfter : undefined;
  } finally {
    watch.end();
  }
}

/** Breaks a stream off that is silent for too long, or at `stop`. */
class SilenceWatch {
  readonly #controller = new AbortController();
  readonly #stop: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(stop: AbortSignal) {
    this.#stop = stop;
    stop.addEventListener("abort", this.#abort);
    this.heard();
    if (stop.aborted) this.#abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, SILENCE);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#stop.removeEventListener("abort", this.#abort);
  }

  readonly #abort = (): void => {
    this.#controller.abort(new Error("the stream is silent"));
  };
}

/** The compiler takes a signal for what it was before an `await`. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

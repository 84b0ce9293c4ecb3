/**
 * Keeps a verifier's knowledge fresh.
 *
 * A round asks for the keys and reads the feed to its end. Then the feed is followed as a stream, which tells keys and
 * revocations as they happen and, every two seconds, that nothing was left out. When the stream ends, or cannot be
 * opened, rounds follow one another. Only a whole round, or a sign of life of the stream, counts as news. What is learnt
 * on the way counts at once all the same, for it can only take tokens away or name the keys as they are.
 */

import type { Clock } from "#clock";
import { sleep } from "../clock/server-time.js";
import { BeyondEnd, type Connection } from "./connection.js";
import type { Heard, Knowledge, Rules } from "./knowledge.js";
import { BEGINNING, compare, inHistoryOf, placeOf, type Position } from "./position.js";
import { Reading } from "./reading.js";
import { REMEMBERED } from "./revocations.js";
import { headOf, isLast, itemOf, keysOf, type FeedPage } from "./wire.js";

/** So many revocations are asked for at once. */
const PAGE = 1_000;
/** However long the authority was away, it is asked at least this often, in milliseconds. */
const LONGEST_WAIT = 5_000;
/** A sign of life comes every two seconds. A later one, or one that was long on its way, is not waited for. */
const LATE = 3_000;
/** Where the feed was no stream, it is tried again so much later, in milliseconds. */
const NEXT_STREAM = 30_000;

export interface FollowerOptions {
  readonly rules: Rules;
  readonly clock: Clock;
  readonly stop: AbortSignal;
  /** A round has ended, well or not, that was begun then. */
  readonly onRound: (begun: number) => void;
}

export class Follower {
  readonly #connection: Connection;
  readonly #knowledge: Knowledge;
  readonly #options: FollowerOptions;
  #reading = new Reading();
  #failures = 0;
  /** When it was last looked whether the history is still the one that was read. */
  #lookedBack = -Infinity;
  #noStreamBefore = -Infinity;
  #wake = new AbortController();

  constructor(connection: Connection, knowledge: Knowledge, options: FollowerOptions) {
    this.#connection = connection;
    this.#knowledge = knowledge;
    this.#options = options;
  }

  /** Follows until it is stopped. */
  async follow(): Promise<void> {
    const { clock, stop, onRound } = this.#options;
    stop.addEventListener("abort", () => {
      this.wake();
    });
    while (!stop.aborted) {
      this.#wake = new AbortController();
      const begun = clock.elapsed();
      const heard = await this.#round(begun).catch(() => undefined);
      this.#failures = heard === undefined ? this.#failures + 1 : 0;
      onRound(begun);
      if (heard !== undefined && begun >= this.#noStreamBefore) await this.#stream(heard);
      else await this.#rest(begun);
    }
  }

  /** News are wanted sooner than they would come. */
  wake(): void {
    this.#wake.abort();
  }

  /** Asks for all that there is. */
  async #round(asked: number): Promise<Heard> {
    const keys = await this.#connection.keys(this.#options.stop);
    if (keys !== undefined) this.#knowledge.learnKeys(keys);
    const { at, page } = await this.#readFeed(asked);
    const heard = { asked, lastAsked: at, authorityTime: page.now };
    this.#knowledge.heard(heard);
    return heard;
  }

  /** Reads on to the end; returns the last page, and when it was asked for. */
  async #readFeed(now: number): Promise<{ at: number; page: FeedPage }> {
    // A history that was put back without a silence is noticed within the staleness bound.
    const isTime = now - this.#lookedBack >= this.#options.rules.stalenessBound / 2;
    let looksBack = this.#failures > 0 || isTime;
    let { at, page } = await this.#firstPage(looksBack);
    looksBack ||= this.#reading.isNew;
    if (this.#reading.isNew && !isLast(page)) ({ at, page } = await this.#page(await this.#firstThatMatters(page)));
    for (;;) {
      page.items.forEach((item) => {
        this.#knowledge.learn(item);
      });
      this.#reading.note(page, looksBack);
      if (isLast(page)) break;
      ({ at, page } = await this.#page(page.nextAfter));
    }
    if (looksBack) this.#lookedBack = now;
    return { at, page };
  }

  /** The page with which to go on. When the history is another one than before, that is the first of all. */
  async #firstPage(looksBack: boolean): Promise<{ at: number; page: FeedPage }> {
    try {
      const first = await this.#page(looksBack ? this.#reading.beforeLast : this.#reading.end);
      if (!looksBack || this.#reading.goesOnWith(first.page)) return first;
    } catch (error) {
      if (!(error instanceof BeyondEnd)) throw error;
      // What sessions it has ended since what was lost, it cannot say; tokens from before may be of any of them.
      if (error.now !== undefined) this.#knowledge.refuseSignedBefore(error.now);
    }
    this.#reading = new Reading();
    this.#lookedBack = -Infinity;
    return await this.#page(BEGINNING);
  }

  async #page(after: Position): Promise<{ at: number; page: FeedPage }> {
    const at = this.#options.clock.elapsed();
    return { at, page: await this.#connection.feed(after, PAGE, this.#options.stop) };
  }

  /**
   * Where to begin so that all is read that may still matter, and one revocation before it to look back to. A history of
   * years is not read for it: recorded time never goes back, so the place is found by halving.
   */
  async #firstThatMatters(first: FeedPage): Promise<Position> {
    let [low, high] = [0, placeOf(first.head)?.[1] ?? 0];
    while (high - low > PAGE) {
      const middle = low + Math.floor((high - low) / 2);
      const { now, items } = await this.#connection.feed(inHistoryOf(first.head, middle), 1, this.#options.stop);
      const [item] = items;
      if (item !== undefined && item.at + REMEMBERED <= now) low = placeOf(item.position)?.[1] ?? high;
      else high = middle;
    }
    return low > 1 ? inHistoryOf(first.head, low - 1) : BEGINNING;
  }

  /** Follows the feed as a stream until it ends, is late, or news are wanted. */
  async #stream(anchor: Heard): Promise<void> {
    const { clock } = this.#options;
    const begun = clock.elapsed();
    const watch = new LateWatch(this.#wake.signal);
    let isAlive = false;
    try {
      for await (const event of this.#connection.stream(this.#reading.end, watch.signal)) {
        if (event === undefined) continue;
        const isHead = await this.#take(event.event, JSON.parse(event.data), anchor);
        if (!isHead) continue;
        isAlive = true;
        watch.heard();
        this.#options.onRound(clock.elapsed());
      }
    } catch {
      // The next round says whether the authority answers.
    } finally {
      watch.end();
    }
    // The authority may have been put back from a backup meanwhile.
    this.#lookedBack = -Infinity;
    if (!isAlive) this.#noStreamBefore = begun + NEXT_STREAM;
  }

  /** Takes in what the stream tells; returns whether it was a sign of life. */
  async #take(kind: string, body: unknown, anchor: Heard): Promise<boolean> {
    if (kind === "keys") this.#knowledge.learnKeys(await keysOf(body));
    if (kind === "revocation") this.#knowledge.learn(itemOf(body));
    if (kind !== "head") return false;
    const { head: told, now } = headOf(body);
    const head = inHistoryOf(this.#reading.end, told);
    const arrived = this.#options.clock.elapsed();
    // How long it was on its way at most, by the clock there as the last round told it.
    const lag = Math.max(anchor.authorityTime + (arrived - anchor.lastAsked) - now, 0);
    if (lag > LATE) throw new Error("the stream is late");
    if (compare(head, this.#reading.end) > 0) this.#reading.end = head;
    this.#knowledge.heard({ asked: arrived - lag, lastAsked: arrived, authorityTime: now + lag });
    return true;
  }

  /** Until the next round is due, or news are wanted. */
  async #rest(begun: number): Promise<void> {
    const spent = this.#options.clock.elapsed() - begun;
    const wait = pause(this.#options.rules.poll, this.#failures, Math.random());
    await sleep(Math.max(wait - spent, 1), this.#wake.signal).catch(() => undefined);
  }
}

/** The wait after so many failures in a row; without one it is the poll, less up to a tenth. */
export function pause(poll: number, failures: number, chance: number): number {
  if (failures === 0) return poll * (0.9 + 0.1 * chance);
  const step = poll * 2 ** Math.min(failures - 1, 16);
  return Math.min(step, Math.max(LONGEST_WAIT, poll)) * (0.5 + 0.5 * chance);
}

/** Breaks a stream off that gives no sign of life, or when news are wanted. */
class LateWatch {
  readonly #controller = new AbortController();
  readonly #wanted: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(wanted: AbortSignal) {
    this.#wanted = wanted;
    wanted.addEventListener("abort", this.#abort);
    this.heard();
    if (wanted.aborted) this.#abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, LATE);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#wanted.removeEventListener("abort", this.#abort);
  }

  readonly #abort = (): void => {
    this.#controller.abort(new Error("the stream is late"));
  };
}

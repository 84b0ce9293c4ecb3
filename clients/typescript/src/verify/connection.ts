/**
 * The way to the authority: where it is, the key that it knows us by, and how long it may take. Only `https://`, and
 * `http://` to this machine itself: who can change an answer on its way can hide a revocation or show a key of their own.
 */

import { addressOf } from "../address.js";
import type { Time } from "../clock/server-time.js";
import { RefusedError } from "../errors.js";
import { ask, openStream, send, within, type Asking, type HttpRequest } from "../http.js";
import { eventsOf, type ServerSentEvent } from "../sse.js";
import type { Introspection } from "../api.js";
import { compare, BEGINNING, type Position } from "./position.js";
import { keysOf, pageOf, type FeedPage, type PublishedKey } from "./wire.js";

/** An authority that has not answered by then gives no answer. */
const WHOLE = 4_000;

/** The authority's history ends before the position from which to go on, or has another one there. */
export class BeyondEnd extends Error {
  override readonly message = "its history ends before what was read of it";
  /** What time it was there, if it says so. */
  readonly now: number | undefined;

  constructor(now: number | undefined) {
    super();
    this.now = now;
  }
}

/** The way to an authority. */
export class Connection {
  readonly #base: URL;
  readonly #key: string;
  /** The tag of the keys that were read last, if the authority gave one. */
  #etag: string | undefined;

  /** To the authority at this address, with an API key of the role `verifier`. */
  constructor(url: string, key: string) {
    this.#base = addressOf(url, false);
    if (!/^tnr_key_[\x21-\x7e]+$/.test(key)) throw new TypeError("the API key must be one that begins with tnr_key_");
    this.#key = key;
  }

  /** The keys that it shows; undefined when they are those that were read last. */
  async keys(stop: AbortSignal): Promise<PublishedKey[] | undefined> {
    return await within(WHOLE, stop, async (signal) => {
      const headers = this.#etag === undefined ? {} : { "if-none-match": this.#etag };
      const asking = { credential: undefined, time: deaf(), signal };
      const response = await send(this.#base, { method: "GET", path: ["v1", "keys"], headers }, asking);
      if (response.status === 304) return undefined;
      if (!response.ok) throw new Error(`it answers with status ${String(response.status)}`);
      const keys = await keysOf(await response.json());
      this.#etag = response.headers.get("etag") ?? undefined;
      return keys;
    });
  }

  /** So many revocations after this position, at most. */
  async feed(after: Position, limit: number, stop: AbortSignal): Promise<FeedPage> {
    const request: HttpRequest = { method: "GET", path: ["v1", "revocations", "feed"], query: { after, limit } };
    return pageOf(await this.#asked(after, (asking) => ask(this.#base, request, asking), stop), after);
  }

  /** The feed after this position as it goes on. `undefined` is a sign of life. */
  async *stream(after: Position, signal: AbortSignal): AsyncGenerator<ServerSentEvent | undefined> {
    const request: HttpRequest = { method: "GET", path: ["v1", "revocations", "feed"], query: { after } };
    const open = (asking: Asking): Promise<ReadableStream<Uint8Array>> =>
      openStream(this.#base, request, { ...asking, signal });
    yield* eventsOf(await this.#asked(after, open, signal), signal);
  }

  /** What it says of a session token. */
  async introspect(token: string, signal: AbortSignal): Promise<Introspection> {
    const request: HttpRequest = { method: "POST", path: ["v1", "introspect"], body: { token } };
    return await ask(this.#base, request, { credential: this.#key, time: deaf(), signal });
  }

  /** Asks, and tells a history that does not go that far from other refusals. */
  async #asked<T>(after: Position, work: (asking: Asking) => Promise<T>, stop: AbortSignal): Promise<T> {
    const time = deaf();
    try {
      return await within(WHOLE, stop, (signal) => work({ credential: this.#key, time, signal }));
    } catch (error) {
      const isBeyond = error instanceof RefusedError && error.status === 409 && compare(after, BEGINNING) > 0;
      throw isBeyond ? new BeyondEnd(time.said) : error;
    }
  }
}

/** A verifier counts by the feed's own time; what a reply says is noted only. */
interface NotedTime extends Time {
  said: number | undefined;
}

function deaf(): NotedTime {
  const time: NotedTime = {
    said: undefined,
    now: () => Date.now(),
    until: () => Promise.resolve(),
    heard: (then) => {
      time.said = then;
    },
  };
  return time;
}

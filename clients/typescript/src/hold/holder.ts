/** The holder of a session: keeps it renewed, hands out its current token, says when it is over. */

import type { AccessToken, NewAccessToken, NewUsage, RevokedSession, Session, Usage } from "../api.js";
import { freshKey, type Client } from "../client.js";
import { sleep } from "../clock/server-time.js";
import { RefusedError, TenureError } from "../errors.js";
import { Course } from "./course.js";
import { describe, type End } from "./end.js";
import type { Grant } from "./grant.js";
import { listen, type EventStream } from "../listen.js";
import { afterRefusal, step, type Want } from "./renewal.js";
import type { Reading, SessionFile } from "./session-file.js";

/** So long a session is left alone that is over by our clock and not by the authority's. */
const PAUSE = 10_000;
/** So often is looked whether another holder has touched the file, in milliseconds. */
const WATCH_EVERY = 200;

export interface HolderOptions {
  /** How often to ask whether the session still stands, in milliseconds. Infinity: only at its use and renewal. */
  checkEvery: number;
  /** Whether to listen to the session's own stream, which tells an end at once. */
  listen: boolean;
  /** Hears of what is wrong and tried again, and, by `undefined`, that it is well again. */
  onTrouble: (trouble: string | undefined) => void;
}

/** A session that is not known to have ended. */
export interface SessionState {
  /** What is held, without its token. */
  readonly grant: Omit<Grant, "token" | "renewalKey">;
  /** What is wrong at present, and tried again: the authority cannot be reached, the file cannot be written. */
  readonly trouble: string | undefined;
}

/** A holder has closed: what waited for it waits no more. */
class Closed extends Error {}

/**
 * Holds the session in a file until it is closed or the session is over. Any number of holders, in any number of
 * processes and programs, may hold the same one. Use `hold` to begin.
 */
export class SessionHolder implements AsyncDisposable {
  readonly #client: Client;
  readonly #file: SessionFile;
  readonly #options: HolderOptions;
  readonly #course = new Course();
  /** Aborts at the end of the session. */
  readonly #over = new AbortController();
  /** Aborts when the holder is closed: what is asked is broken off. */
  readonly #closed = new AbortController();
  /** Aborts by either: the background has nothing more to do. */
  readonly #stop = new AbortController();
  readonly #background: Promise<unknown>;
  /** Resolves when the session is over; never when the holder is closed before. */
  readonly ended: Promise<End>;
  #resolveEnded!: (end: End) => void;
  #known: Reading;
  /** One step at a time in this process; the file's lock does the same among processes. */
  #flight: Promise<unknown> = Promise.resolve();
  /** Wakes the background: there is something to do before the moment that it waits for. */
  #wake = new AbortController();

  constructor(client: Client, file: SessionFile, options: HolderOptions) {
    this.#client = client.with({ signal: this.#closed.signal });
    this.#file = file;
    this.#options = options;
    this.#known = file.readWithStamp();
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    const hearing = options.listen ? [this.#listen(), this.#watch()] : [];
    this.#background = Promise.all([this.#keep(), ...hearing]);
  }

  /**
   * The token of this moment. Ask for it at each use, and keep it no longer: a renewal, by whatever process, makes it
   * void.
   */
  get token(): string {
    this.#look();
    return this.#known.grant.token;
  }

  /** The header that proves the session to a service. */
  get headers(): { authorization: string } {
    return { authorization: `Bearer ${this.token}` };
  }

  get sessionId(): string {
    return this.#known.grant.sessionId;
  }

  get subjectId(): string {
    return this.#known.grant.subjectId;
  }

  /** How the session stands. */
  get state(): SessionState {
    this.#look();
    const { token: _, renewalKey: __, ...grant } = this.#known.grant;
    return { grant, trouble: this.#course.trouble };
  }

  /** Aborts when the session is over: for the `fetch`es that are done in its name. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** A token in place of one that a service refused as superseded; undefined when there is none for the moment. */
  async tokenInsteadOf(refused: string): Promise<string | undefined> {
    try {
      const { token } = await this.#step(refused, "settled");
      return token === refused ? undefined : token;
    } catch {
      return undefined;
    }
  }

  /** Reads the session. */
  session(): Promise<Session> {
    return this.call((client) => client.getSession(this.sessionId));
  }

  /** Records a use of the session, if its constraints allow it. */
  recordUsage(usage: NewUsage): Promise<Usage> {
    const key = freshKey();
    return this.call((client) => client.recordUsage(this.sessionId, usage, key));
  }

  /** Mints an access token, for services that check offline. */
  mintAccessToken(wanted: NewAccessToken = {}): Promise<AccessToken> {
    return this.call((client) => client.mintAccessToken(wanted));
  }

  /** Ends the session. The file stays. */
  async revoke(reason?: string): Promise<RevokedSession> {
    const options = reason === undefined ? {} : { reason };
    const revoked = await this.call((client) => client.revokeSession(this.sessionId, options));
    this.#finish({ kind: "revoked" });
    return revoked;
  }

  /**
   * Calls the authority with the session's token. A token that turns out to be superseded is replaced from the file, and
   * the call repeated. What it changes may have been done by then: draw an idempotency key outside of `call`. An error
   * that is the end of the session ends this holder, too.
   */
  async call<T>(call: (client: Client) => Promise<T>): Promise<T> {
    for (;;) {
      const { token } = this;
      try {
        return await call(this.#client.with({ credential: token }));
      } catch (error) {
        // Each further round has another token.
        if (!(error instanceof RefusedError) || error.status !== 401) throw error;
        if (!(await this.#isReplaced(token, error))) throw error;
      }
    }
  }

  /** Lets go of the session, which goes on. A renewal that is on its way is left as it is: the file knows of it. */
  async close(): Promise<void> {
    this.#closed.abort(new Closed("the holder is closed"));
    this.#rest();
    await this.#background;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Reads the file if it is another one than was read last; while it cannot be read, the last one counts. */
  #look(): void {
    if (this.#file.stamp() === this.#known.stamp) return;
    try {
      this.#known = this.#file.readWithStamp();
    } catch {
      // The next step says what is wrong with it.
    }
  }

  /** See `step`; what the file then holds is what is known. */
  #step(seen: string, want: Want): Promise<Grant> {
    const work = async (): Promise<Grant> => {
      try {
        return await step(this.#client, this.#file, seen, want);
      } finally {
        this.#look();
      }
    };
    const stepped = this.#flight.then(work);
    this.#flight = stepped.catch(() => undefined);
    return stepped;
  }

  /**
   * Whether there is another token in place of one that the authority refused. When there is none, the refusal is the
   * end.
   */
  async #isReplaced(refused: string, refusal: RefusedError): Promise<boolean> {
    if (refusal.code !== "SESSION_REVOKED") {
      try {
        const want = refusal.code === "TOKEN_SUPERSEDED" ? "replaced" : "settled";
        const { token } = await this.#step(refused, want);
        if (token !== refused) return true;
      } catch (error) {
        // Nothing can be said while the file cannot be read.
        if (!(error instanceof TenureError)) return false;
        if (error.isTransient) {
          this.#news();
          // While it may still turn up, that it was superseded says more than that it cannot be renewed now.
          if (error instanceof RefusedError && error.asksOnceMoreAt !== undefined) return false;
          throw error;
        }
        if (!(error instanceof RefusedError) || error.code !== "SESSION_RENEWAL_MISMATCH") throw this.#judged(error);
      }
    }
    this.#finish({ kind: "refused", problem: refusal.problem });
    return false;
  }

  /** Tells the end, if this error of a renewal is one. */
  #judged(error: TenureError): TenureError {
    const goesOn = error.isTransient || afterRefusal(this.#known.grant, error) !== undefined;
    if (error instanceof RefusedError && !goesOn) this.#finish({ kind: "refused", problem: error.problem });
    return error;
  }

  /** The background: does what is next until the session is over. */
  async #keep(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#look();
      const { grant } = this.#known;
      const next = this.#course.next(grant, this.#options.checkEvery, this.#client.time.now());
      if (next.kind === "renew") await this.#renew(grant);
      else if (next.kind === "check") await this.#check();
      else if (next.kind === "end") await this.#question(grant);
      else await this.#wait(next.until);
    }
  }

  async #wait(until: number): Promise<void> {
    await this.#client.time.until(until, this.#wake.signal).catch(() => undefined);
    this.#wake = new AbortController();
    if (this.#stop.signal.aborted) this.#wake.abort();
  }

  async #renew(grant: Grant): Promise<void> {
    const before = this.#course.trouble;
    try {
      await this.#step(grant.token, "due");
      this.#course.wentWell();
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      if (error instanceof TenureError) this.#judged(error);
      this.#course.failed(error as Error, this.#client.time.now());
    }
    if (this.#course.trouble !== before) this.#options.onTrouble(this.#course.trouble);
  }

  /** It is over by our clock. Whether that is right, the authority knows better. */
  async #question(grant: Grant): Promise<void> {
    try {
      await this.session();
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      const isRefusal = error instanceof RefusedError && !error.isTransient;
      if (isRefusal) this.#finish({ kind: "refused", problem: error.problem });
      else this.#finish({ kind: "expired", trouble: this.#course.trouble ?? (error as Error).message });
      return;
    }
    await this.#renew(grant);
    const later = this.#client.time.now() + PAUSE;
    await this.#wait(Math.min(this.#course.notBefore ?? later, later));
  }

  async #check(): Promise<void> {
    // That the authority could not be asked is no trouble yet, and that the session has ended was told.
    await this.session().catch(() => undefined);
    this.#course.checkedAt(this.#client.time.now());
  }

  /** Follows up what the stream tells: only an answer says in full what the end was. */
  #listen(): Promise<void> {
    const events = (signal: AbortSignal): EventStream =>
      this.#client.with({ credential: this.token, signal }).sessionEvents(this.sessionId);
    // A session has four streams at most. Holders without one see that the file was touched.
    const tell = (): void => {
      try {
        this.#file.touch();
      } catch {
        // They ask now and then all the same.
      }
    };
    return listen(events, () => this.#check(), this.#stop.signal, tell);
  }

  /** Asks how the session stands when another holder has touched the file, and its content is the same. */
  async #watch(): Promise<void> {
    let [stamp, content] = [this.#file.stamp(), JSON.stringify(this.#known.grant)];
    while (!this.#stop.signal.aborted) {
      await sleep(WATCH_EVERY, this.#stop.signal).catch(() => undefined);
      const seen = this.#file.stamp();
      if (seen === undefined || seen === stamp) continue;
      this.#look();
      const before = content;
      [stamp, content] = [seen, JSON.stringify(this.#known.grant)];
      if (content === before) await this.#check();
    }
  }

  #news(): void {
    this.#wake.abort();
  }

  #finish(end: End): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort(new Error(`the session is over: ${describe(end)}`));
    this.#resolveEnded(end);
    this.#rest();
  }

  #rest(): void {
    this.#stop.abort(new Closed("there is nothing more to do"));
    this.#wake.abort();
  }
}

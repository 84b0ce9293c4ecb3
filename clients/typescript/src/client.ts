/** Single calls, typed both ways. */

import { webcrypto } from "#crypto";
import { addressOf } from "./address.js";
import type {
  AccessToken,
  CreatedSession,
  Introspection,
  NewAccessToken,
  NewSession,
  NewUsage,
  Page,
  RenewedSession,
  RevokeOptions,
  RevokedSession,
  Session,
  SessionEvent,
  SessionFilter,
  Usage,
} from "./api.js";
import { backoff } from "./backoff.js";
import { ServerTime, sleep, type Time } from "./clock/server-time.js";
import { RefusedError, TenureError } from "./errors.js";
import { ask, openStream, urlOf, type Asking, type HttpRequest } from "./http.js";
import { eventsOf } from "./sse.js";

/** So long a call is tried again while it fails for the moment. */
const PATIENCE = 20_000;

export interface ClientOptions {
  /** An API key, or a session's token. */
  credential?: string;
  /** How long a call is tried again while it fails for the moment, in milliseconds: 20 s; 0 is one try. */
  patience?: number;
  /** Send by `http` to other machines, too. Anyone who can listen on the way reads the keys and tokens. */
  allowPlaintext?: boolean;
  /** What time it is at the authority. */
  time?: Time;
  /** Ends every call with the signal's reason. */
  signal?: AbortSignal;
  /** Whether a browser sends its cookies along; see `@tenure/client/browser`. */
  credentials?: "omit" | "same-origin" | "include";
}

/**
 * Calls one authority with one credential.
 *
 * What fails for the moment is tried again until the client's patience is over. A call that changes something carries
 * an idempotency key, the same on every try, so that it has one effect even if replies are lost or the authority cannot
 * say whether it was done (`OUTCOME_UNKNOWN`).
 */
export class Client {
  readonly #base: URL;
  readonly #options: ClientOptions;
  readonly #time: Time;

  /** For the authority at `url`: by `https`, or by `http` on this machine. Opens no connection yet. */
  constructor(url: string, options: ClientOptions = {}) {
    this.#base = addressOf(url, options.allowPlaintext === true);
    this.#options = options;
    this.#time = options.time ?? new ServerTime();
  }

  /** The same with other options. The clock is shared. */
  with(options: ClientOptions): Client {
    return new Client(this.url, { ...this.#options, time: this.#time, ...options });
  }

  /** The authority's address. */
  get url(): string {
    return urlOf(this.#base);
  }

  /** What time it is there. */
  get time(): Time {
    return this.#time;
  }

  /**
   * Creates a session (admin, issuer). A key of your own, which outlives this process, gives the same session again
   * within the authority's `idempotency.window`.
   */
  createSession(session: NewSession, idempotencyKey = freshKey()): Promise<CreatedSession> {
    const body = { onReuse: "revoke", ...session };
    return this.#call({ method: "POST", path: ["v1", "sessions"], body, idempotencyKey });
  }

  /** Reads a session; its own token may, too. */
  getSession(sessionId: string): Promise<Session> {
    return this.#call({ method: "GET", path: ["v1", "sessions", sessionId] });
  }

  /** Lists sessions, newest first. */
  listSessions(filter: SessionFilter = {}): Promise<Page<Session>> {
    return this.#call({ method: "GET", path: ["v1", "sessions"], query: { ...filter } });
  }

  /** Judges a token (admin, issuer, verifier). That a token is not good is an answer, no error. */
  introspect(token: string): Promise<Introspection> {
    return this.#call({ method: "POST", path: ["v1", "introspect"], body: { token } });
  }

  /**
   * Asks once for a renewal; the credential is the session's own token.
   *
   * When this fails for the moment, the renewal may have been granted: repeat it with the same token and the same key,
   * and use no token in between. `@tenure/client/hold` does all that.
   */
  renewSession(sessionId: string, idempotencyKey: string): Promise<RenewedSession> {
    return this.#once({ method: "PUT", path: ["v1", "sessions", sessionId, "renew"], idempotencyKey });
  }

  /** Ends a session; its own token may, too. Ending it again gives the same answer. */
  revokeSession(sessionId: string, options: RevokeOptions = {}): Promise<RevokedSession> {
    const query = {
      reason: options.reason,
      rejectRenewal: text(options.rejectRenewal),
      suspend: text(options.suspend),
    };
    const path = ["v1", "sessions", sessionId];
    return this.#call({ method: "DELETE", path, query, idempotencyKey: freshKey() });
  }

  /**
   * Records a use of a session, if its constraints allow it: judged and recorded in one step. The same key is the same
   * use.
   */
  async recordUsage(sessionId: string, body: NewUsage, idempotencyKey = freshKey()): Promise<Usage> {
    const path = ["v1", "sessions", sessionId, "usage"];
    const recorded = await this.#call<{ usage: Usage }>({ method: "POST", path, body, idempotencyKey });
    return recorded.usage;
  }

  /** Mints an access token of the session whose token is the credential. */
  mintAccessToken(body: NewAccessToken = {}): Promise<AccessToken> {
    return this.#call({ method: "POST", path: ["v1", "access-tokens"], body });
  }

  /**
   * What ends or suspends the session whose token is the credential, as it happens. `undefined` is a sign of life; the
   * first says that the stream is open. It may break off at any time: open it again, and read the session.
   */
  async *sessionEvents(sessionId: string): AsyncGenerator<SessionEvent | undefined> {
    const request: HttpRequest = { method: "GET", path: ["v1", "sessions", sessionId, "events"] };
    const stream = await openStream(this.#base, request, this.#asking());
    yield undefined;
    for await (const event of eventsOf(stream, this.#options.signal)) {
      yield (
        event && {
          ...(JSON.parse(event.data) as Omit<SessionEvent, "kind">),
          kind: event.event as SessionEvent["kind"],
        }
      );
    }
  }

  /** Asks until there is an answer that lasts, or patience is over. */
  async #call<T>(request: HttpRequest): Promise<T> {
    const deadline = performance.now() + (this.#options.patience ?? PATIENCE);
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#once<T>(request);
      } catch (error) {
        const wait = backoff(failures, error instanceof RefusedError ? error.retryAfter : undefined);
        if (!isWorthWaiting(error) || performance.now() + wait > deadline) throw error;
        await sleep(wait, this.#options.signal);
      }
    }
  }

  #once<T>(request: HttpRequest): Promise<T> {
    return ask<T>(this.#base, request, this.#asking());
  }

  #asking(): Asking {
    const { credential, signal, credentials } = this.#options;
    const asking: Asking = { credential, signal, time: this.#time };
    return credentials === undefined ? asking : { ...asking, credentials };
  }
}

/** 32 hexadecimal digits that nothing else has. */
export function freshKey(): string {
  return webcrypto.randomUUID().replaceAll("-", "");
}

/** A refusal that names a moment is for its caller to wait for. */
function isWorthWaiting(error: unknown): boolean {
  const namesMoment = error instanceof RefusedError && error.retryAt !== undefined;
  return error instanceof TenureError && error.isTransient && !namesMoment;
}

function text(value: boolean | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

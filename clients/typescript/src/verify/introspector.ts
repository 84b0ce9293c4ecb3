/**
 * Asks the authority about a session token, each time. Nothing is remembered: a revocation counts at the next request.
 * In return no request passes while the authority cannot be asked.
 */

import type { Introspection, LiveToken } from "../api.js";
import { millisOf } from "../clock/timestamp.js";
import { RefusedError } from "../errors.js";
import { within } from "../http.js";
import { Connection } from "./connection.js";
import { RejectedTokenError, type RejectionReason } from "./rejection.js";
import type { TokenHolder, TokenJudge } from "./token-holder.js";

/** No session token is longer; nothing longer is sent on. */
const LONGEST = 2_048;
/** So long a token waits for the answer, in milliseconds. */
const PATIENCE = 5_000;

/** The authority's codes for tokens that are not good. A code of a later version is no reason to let one in. */
const REASONS: Partial<Record<string, RejectionReason>> = {
  SESSION_REVOKED: "revoked",
  SUBJECT_SUSPENDED: "suspended",
  TOKEN_SUPERSEDED: "superseded",
  TOKEN_EXPIRED: "expired",
  SESSION_IDLE: "idle",
};

export interface IntrospectorOptions {
  /** The authority's address. */
  url: string;
  /** An API key of the role `verifier`. */
  key: string;
}

/** Judges session tokens by asking the authority. */
export class Introspector implements TokenJudge {
  readonly #connection: Connection;

  constructor(options: IntrospectorOptions) {
    this.#connection = new Connection(options.url, options.key);
  }

  async judge(token: string): Promise<TokenHolder> {
    if (token.length > LONGEST || !token.startsWith("tnr_sess_")) throw new RejectedTokenError("malformed");
    const answer = await this.#ask(token);
    if (!isLive(answer)) throw new RejectedTokenError(REASONS[answer.code] ?? "malformed");
    const { subjectId, sessionId, ownerId, scopes, expiresAt } = answer;
    const isWhole = [subjectId, sessionId].every((id) => typeof id === "string") && Array.isArray(scopes);
    if (!isWhole || millisOf(expiresAt) === undefined) throw new RejectedTokenError("unreachable");
    return { subjectId, sessionId, ownerId, scopes, expiresAt };
  }

  async #ask(token: string): Promise<Introspection> {
    try {
      return await within(PATIENCE, undefined, (signal) => this.#connection.introspect(token, signal));
    } catch (error) {
      const millis = error instanceof RefusedError ? error.retryAfter : undefined;
      throw new RejectedTokenError("unreachable", millis === undefined ? undefined : Math.ceil(millis / 1000));
    }
  }
}

/** What is read is not what its type promises, until it was looked at. */
function isLive(answer: Introspection): answer is LiveToken {
  return (answer.active as unknown) === true;
}

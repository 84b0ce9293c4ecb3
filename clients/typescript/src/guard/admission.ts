/**
 * Who is let in, and what the others are answered: RFC 6750. Everything is in the headers; the body is empty. Nothing of
 * what was shown is repeated.
 *
 * | status | when |
 * |---|---|
 * | 401 | no token, or one that is not taken (`error="invalid_token"`) |
 * | 400 | more than one credential (`error="invalid_request"`) |
 * | 403 | the token lacks a scope (`error="insufficient_scope"`) |
 * | 503 | the verifier is not ready or stale, or the authority cannot be asked; with `Retry-After` |
 */

import { RejectedTokenError } from "../verify/rejection.js";
import type { TokenHolder, TokenJudge } from "../verify/token-holder.js";

export interface GuardOptions {
  /** The token must have all of these. */
  scopes?: readonly string[];
}

/** A request that is not let in: how it is answered. */
export interface Denial {
  readonly status: 400 | 401 | 403 | 503;
  readonly headers: Readonly<Record<string, string>>;
}

export type Admission = { readonly holder: TokenHolder } | { readonly denial: Denial };

const CHALLENGE = 'Bearer realm="tenure"';

/** Judges a request by its `Authorization` headers. */
export type Admit = (authorization: readonly string[]) => Promise<Admission>;

/** Judges requests by this judge. What cannot be judged does not pass. */
export function admission(judge: TokenJudge, { scopes = [] }: GuardOptions = {}): Admit {
  for (const scope of scopes) {
    // RFC 6749, section 3.3.
    if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) throw new TypeError(`${JSON.stringify(scope)} is no scope`);
  }
  return async (authorization) => {
    const token = bearerOf(authorization);
    if (typeof token !== "string") return { denial: token };
    try {
      const holder = await judge.judge(token);
      const hasAll = scopes.every((scope) => holder.scopes.includes(scope));
      return hasAll
        ? { holder }
        : { denial: challenge(403, `error="insufficient_scope", scope="${scopes.join(" ")}"`) };
    } catch (error) {
      return { denial: denialOf(error) };
    }
  };
}

/** The one bearer token, or why there is none. The scheme's name may be in any case (RFC 9110, section 11.1). */
function bearerOf(authorization: readonly string[]): string | Denial {
  const [header, ...more] = authorization;
  if (header === undefined) return challenge(401);
  // No credential of one scheme has a comma; where there is one, two headers were joined.
  if (more.length > 0 || header.includes(",")) {
    return challenge(400, 'error="invalid_request", error_description="more than one credential"');
  }
  return /^bearer +(\S.*?) *$/i.exec(header)?.[1] ?? challenge(401);
}

function denialOf(error: unknown): Denial {
  if (!(error instanceof RejectedTokenError) || error.isTemporary) {
    const retryAfter = error instanceof RejectedTokenError ? error.retryAfter : undefined;
    return { status: 503, headers: { "cache-control": "no-store", "retry-after": String(retryAfter ?? 1) } };
  }
  return challenge(401, `error="invalid_token", error_description="${error.message}"`);
}

function challenge(status: Denial["status"], parameters?: string): Denial {
  const whole = parameters === undefined ? CHALLENGE : `${CHALLENGE}, ${parameters}`;
  return { status, headers: { "cache-control": "no-store", "www-authenticate": whole } };
}

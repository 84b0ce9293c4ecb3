/**
 * What an access token says.
 *
 * A claim that is missing, repeated or of the wrong type makes a token unfit. Claims of a later version are ignored, so
 * that a verifier need not be replaced before the authority; but a claim that restricts who may use a token must not be
 * ignored: `crit`, which names what must be understood (as in RFC 7515, section 4.1.11), and `cnf`, which asks for a
 * proof of possession (RFC 7800). This version understands neither and refuses both.
 */

import { millisOf, type Timestamp } from "../clock/timestamp.js";
import { namesTwice } from "./json.js";
import { RejectedTokenError } from "./rejection.js";

/** No access token lives longer, in milliseconds. */
export const LONGEST_LIFE = 1_800_000;

/** What a genuine access token says. That it still counts is judged each time. */
export interface AccessClaims {
  /** Which authority signed it. */
  readonly iss: string;
  /** Who holds the session. */
  readonly sub: string;
  /** The session that it stands for. */
  readonly sid: string;
  /** The service that it was made for, if for one. */
  readonly aud: string | null;
  readonly scopes: readonly string[];
  readonly iat: Timestamp;
  readonly nbf: Timestamp;
  readonly exp: Timestamp;
  /** Its own id. */
  readonly jti: string;
}

/** Claims, with their times in milliseconds since 1970. */
export interface ReadClaims extends AccessClaims {
  readonly issuedAt: number;
  readonly notBefore: number;
  readonly expiresAt: number;
}

/** Reads the payload of a token whose signature was verified. */
export function claimsOf(payload: string): ReadClaims {
  const members = membersOf(payload);
  for (const name of ["crit", "cnf"]) if (name in members) throw unfit();
  const [iat, nbf, exp] = [time(members["iat"]), time(members["nbf"]), time(members["exp"])];
  if (exp.millis > iat.millis + LONGEST_LIFE) throw unfit();
  return {
    iss: text(members["iss"]),
    sub: matching(members["sub"], /^[\w.:@-]{1,128}$/),
    sid: matching(members["sid"], /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i).toLowerCase(),
    aud: members["aud"] == null ? null : text(members["aud"]),
    scopes: texts(members["scopes"]),
    iat: iat.text,
    nbf: nbf.text,
    exp: exp.text,
    jti: text(members["jti"]),
    issuedAt: iat.millis,
    notBefore: nbf.millis,
    expiresAt: exp.millis,
  };
}

function membersOf(payload: string): Record<string, unknown> {
  let document: unknown;
  try {
    document = JSON.parse(payload);
  } catch {
    throw unfit();
  }
  if (typeof document !== "object" || document === null || Array.isArray(document) || namesTwice(payload))
    throw unfit();
  return Object.assign(Object.create(null), document) as Record<string, unknown>;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw unfit();
  return value;
}

function texts(value: unknown): string[] {
  if (!Array.isArray(value)) throw unfit();
  return value.map(text);
}

function matching(value: unknown, pattern: RegExp): string {
  const found = text(value);
  if (!pattern.test(found)) throw unfit();
  return found;
}

function time(value: unknown): { text: Timestamp; millis: number } {
  const millis = millisOf(value);
  if (millis === undefined) throw unfit();
  return { text: value as Timestamp, millis };
}

function unfit(): RejectedTokenError {
  return new RejectedTokenError("unfitClaim");
}

/** What the holder of a session knows of it: all that a session file holds. `docs/client.md` has the format. */

import type { CreatedSession, RenewedSession } from "../api.js";
import { millisOf, type Timestamp } from "../clock/timestamp.js";

/** The form of the file; another one has another number. */
const VERSION = 1;

/** A session as its holder has it, and as it stands in the file. */
export interface Grant {
  readonly version: typeof VERSION;
  /** The authority's address. */
  readonly url: string;
  readonly sessionId: string;
  readonly subjectId: string;
  /** Its current token, as far as is known. */
  readonly token: string;
  /** The length of every period, in seconds. */
  readonly ttl: number;
  readonly expiresAt: Timestamp;
  readonly absoluteExpiresAt: Timestamp;
  /** When it is to be renewed; null when that would be refused for good. */
  readonly renewAt: Timestamp | null;
  readonly renewalCount: number;
  readonly maxRenewals: number;
  /** The idempotency key of a renewal of this token that was begun and whose answer is not known. */
  readonly renewalKey: string | null;
}

/** Of a session that this authority has just created. */
export function createdGrant(url: string, created: CreatedSession): Grant {
  const { sessionId, subjectId, token, expiresAt, absoluteExpiresAt, renewAt, renewalCount, maxRenewals } = created;
  // The first period is never cut: no session may ask for a lifetime shorter than its ttl.
  const ttl = Math.round((at(expiresAt) - at(created.createdAt)) / 1000);
  const times = { ttl, expiresAt, absoluteExpiresAt, renewAt };
  return { version: VERSION, url, sessionId, subjectId, token, ...times, renewalCount, maxRenewals, renewalKey: null };
}

/** The same session after a renewal. */
export function renewedGrant(grant: Grant, renewed: RenewedSession): Grant {
  const { token, expiresAt, absoluteExpiresAt, renewAt, renewalCount, maxRenewals } = renewed;
  return { ...grant, token, expiresAt, absoluteExpiresAt, renewAt, renewalCount, maxRenewals, renewalKey: null };
}

/** Whether a renewal is to be asked for at `now`: it is time, or one was begun. */
export function isDue(grant: Grant, now: number): boolean {
  return grant.renewalKey !== null || (grant.renewAt !== null && now >= at(grant.renewAt));
}

/**
 * When it is over if no answer comes any more. A renewal that was begun may have been granted, and then it was before
 * the end of the period, for one period more.
 */
export function overAt(grant: Grant): number {
  const expiresAt = at(grant.expiresAt);
  if (grant.renewalKey === null) return expiresAt;
  return Math.max(expiresAt, Math.min(expiresAt + grant.ttl * 1000, at(grant.absoluteExpiresAt)));
}

/** A time of a grant, which was found to be one when it was read. */
export function at(time: Timestamp): number {
  return millisOf(time) ?? Number.NaN;
}

/** What is wrong with a file: which field must be what. It quotes nothing. */
export class UnfitGrant extends Error {}

/** Reads what stands in a file. */
export function readGrant(document: unknown): Grant {
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new UnfitGrant("it must be a JSON object");
  }
  const fields = new Fields(document as Record<string, unknown>);
  if (fields.whole("version") !== VERSION) {
    throw new UnfitGrant(`\`version\` must be ${String(VERSION)}, which is all that this program knows`);
  }
  return {
    version: VERSION,
    url: fields.text("url"),
    sessionId: fields.matching("sessionId", /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i, "be a UUID"),
    subjectId: fields.matching("subjectId", /^[\w.:@-]{1,128}$/, "be the id of a subject"),
    token: fields.matching("token", /^tnr_sess_/, "begin with tnr_sess_"),
    ttl: fields.whole("ttl"),
    expiresAt: fields.time("expiresAt"),
    absoluteExpiresAt: fields.time("absoluteExpiresAt"),
    renewAt: fields.isNull("renewAt") ? null : fields.time("renewAt"),
    renewalCount: fields.whole("renewalCount"),
    maxRenewals: fields.whole("maxRenewals"),
    renewalKey: fields.isNull("renewalKey") ? null : fields.text("renewalKey"),
  };
}

/** The fields of a document, read by name. */
class Fields {
  readonly #members: Record<string, unknown>;

  constructor(members: Record<string, unknown>) {
    this.#members = members;
  }

  isNull(name: string): boolean {
    return (this.#members[name] ?? null) === null;
  }

  text(name: string): string {
    const value = this.#members[name];
    if (typeof value !== "string" || value === "") throw new UnfitGrant(`\`${name}\` must be a text`);
    return value;
  }

  whole(name: string): number {
    const value = this.#members[name];
    if (!Number.isSafeInteger(value) || (value as number) < 0) {
      throw new UnfitGrant(`\`${name}\` must be a whole number`);
    }
    return value as number;
  }

  time(name: string): Timestamp {
    const text = this.text(name);
    if (millisOf(text) !== undefined) return text;
    throw new UnfitGrant(`\`${name}\` must be an RFC 3339 time, such as 2026-11-21T01:35:00.000Z`);
  }

  matching(name: string, pattern: RegExp, what: string): string {
    const text = this.text(name);
    if (!pattern.test(text)) throw new UnfitGrant(`\`${name}\` must ${what}`);
    return text;
  }
}

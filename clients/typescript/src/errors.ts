/** How a call can fail, and whether it is worth another try. */

import { millisOf, type Timestamp } from "./clock/timestamp.js";

/** The authority's table of errors (`docs/http-api.md`). A later version may have more. */
export const ERROR_CODES = [
  "INVALID_REQUEST",
  "INVALID_TOKEN",
  "SESSION_REVOKED",
  "SUBJECT_SUSPENDED",
  "TOKEN_SUPERSEDED",
  "TOKEN_EXPIRED",
  "SESSION_IDLE",
  "FORBIDDEN",
  "SESSION_RENEWAL_MISMATCH",
  "RENEWAL_LIMIT_REACHED",
  "SESSION_ABSOLUTE_LIFETIME_EXCEEDED",
  "RENEWAL_TOO_EARLY",
  "CONSTRAINT_VIOLATED",
  "SESSION_LIMIT_EXCEEDED",
  "NOT_FOUND",
  "SUBJECT_NOT_FOUND",
  "SESSION_NOT_FOUND",
  "WEBHOOK_NOT_FOUND",
  "WEBHOOK_LIMIT_EXCEEDED",
  "METHOD_NOT_ALLOWED",
  "SESSION_NOT_ACTIVE",
  "POSITION_BEYOND_END",
  "LAST_ADMIN",
  "BACKUP_CONFLICT",
  "NOT_THE_LEADER",
  "PAYLOAD_TOO_LARGE",
  "UNSUPPORTED_MEDIA_TYPE",
  "IDEMPOTENCY_KEY_REUSED",
  "ROTATION_TOO_RECENT",
  "RATE_LIMITED",
  "INTERNAL",
  "POSITION_NOT_REACHED",
  "OVERLOADED",
  "STORAGE_UNAVAILABLE",
  "STALE",
  "OUTCOME_UNKNOWN",
] as const;

/** What the authority calls a refusal. */
export type ErrorCode = (typeof ERROR_CODES)[number] | (string & {});

/** A refusal as the authority tells it: RFC 9457, with Tenure's members. */
export interface Problem {
  code: ErrorCode;
  title: string;
  status: number;
  detail?: string | null;
  /** Whether the same request may succeed later. */
  retryable: boolean;
  /** When it could. */
  retryAt?: Timestamp | null;
  /** The position of the event that decided it. */
  causedBy?: number | null;
  /** What ended the session whose token was refused, such as `renewal_rejected`; null when it ended by itself. */
  trigger?: string | null;
  requestId?: string | null;
  /** What is wrong with which field of the request. */
  errors?: { field: string; message: string }[];
  /** What this version does not know. */
  [member: string]: unknown;
}

/** Why a call failed. */
export abstract class TenureError extends Error {
  /** Whether the same request, with the same idempotency key, may go well later without any other change. */
  abstract readonly isTransient: boolean;
}

/** The authority said no. Its own word decides whether another try is worth it. */
export class RefusedError extends TenureError {
  override readonly name = "RefusedError";
  readonly problem: Problem;
  /** How long the authority asks to be left alone, in milliseconds. */
  readonly retryAfter: number | undefined;

  constructor(problem: Problem, retryAfter?: number) {
    super(`${problem.code}: ${problem.detail ?? problem.title}`);
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  get code(): ErrorCode {
    return this.problem.code;
  }

  get status(): number {
    return this.problem.status;
  }

  override get isTransient(): boolean {
    return this.problem.retryable || this.problem.status >= 500;
  }

  /** When the same request could succeed, in milliseconds since 1970, if the authority names a moment. */
  get retryAt(): number | undefined {
    return millisOf(this.problem.retryAt);
  }

  /**
   * When to ask for a renewal once more that was refused because another one had replaced the token a moment ago. The
   * session file may have the newer token by then; if not, that attempt shows the authority that there are two holders.
   */
  get asksOnceMoreAt(): number | undefined {
    return this.code === "SESSION_RENEWAL_MISMATCH" && this.problem.retryable ? this.retryAt : undefined;
  }
}

/** No answer came. What was asked may have been done all the same. */
export class UnreachableError extends TenureError {
  override readonly name = "UnreachableError";
  override readonly isTransient = true;

  constructor(url: string, why: string, options?: ErrorOptions) {
    super(`no answer from ${url}: ${why}`, options);
  }
}

/** An answer came that the authority does not give: a proxy's, probably. It says nothing about a session. */
export class UnexpectedReplyError extends TenureError {
  override readonly name = "UnexpectedReplyError";
  override readonly isTransient = true;
  readonly status: number;

  constructor(url: string, status: number, why: string) {
    super(`unexpected reply from ${url} (status ${String(status)}): ${why}; is it a Tenure server?`);
    this.status = status;
  }
}

/** The request cannot be sent as it is. */
export class UnsendableError extends TenureError {
  override readonly name = "UnsendableError";
  override readonly isTransient = false;
}

/** Reads a problem document; undefined when it is none of the authority's. */
export function problemOf(document: unknown): Problem | undefined {
  if (typeof document !== "object" || document === null) return undefined;
  const { code, title, status, retryable } = document as Record<string, unknown>;
  if (typeof code !== "string" || typeof title !== "string" || typeof status !== "number") return undefined;
  return { ...document, code, title, status, retryable: retryable === true };
}

/** What the authority is asked for, and what it answers. Times are RFC 3339 text, durations are whole seconds. */

import type { Timestamp } from "./clock/timestamp.js";

/** A JSON object that the authority keeps for its caller. */
export type JsonObject = Record<string, unknown>;

/** Limits on what a session may be used for; what is left out is not limited. */
export interface Constraints {
  /** A decimal number as text, such as `"12.50"`. */
  maxAmountPerTx?: string;
  maxTotalAmount?: string;
  maxTransactions?: number;
  allowedOperations?: string[];
  allowedDestinations?: string[];
}

/** A session that is asked for. What is left out is the authority's default. */
export interface NewSession {
  subjectId: string;
  /** The length of every period, in seconds. */
  ttl?: number;
  maxRenewals?: number;
  /** How long it may live in all, in seconds. */
  absoluteLifetime?: number;
  renewalRejectWindow?: number;
  /** After so many seconds without a use it ends. */
  idleTimeout?: number;
  mode?: "fixed" | "sliding";
  /**
   * What happens when a token comes back that a renewal had replaced. This client asks for `revoke`: once two holders
   * have shown themselves who do not share a file, the session ends for both. `null` is the authority's setting.
   */
  onReuse?: "reject" | "revoke" | null;
  device?: string;
  scopes?: string[];
  metadata?: JsonObject;
  constraints?: Constraints;
}

/** A session that was created, and its first token, which no other answer shows. */
export interface CreatedSession {
  sessionId: string;
  subjectId: string;
  token: string;
  createdAt: Timestamp;
  expiresAt: Timestamp;
  absoluteExpiresAt: Timestamp;
  /** When its holder should renew; null when it cannot be renewed. */
  renewAt: Timestamp | null;
  renewalCount: number;
  maxRenewals: number;
  /** What happens when a token comes back that a renewal had replaced. */
  onReuse: "reject" | "revoke";
}

/** A session that was renewed, and its next token; the earlier one is dead. */
export interface RenewedSession {
  sessionId: string;
  token: string;
  expiresAt: Timestamp;
  absoluteExpiresAt: Timestamp;
  renewAt: Timestamp | null;
  renewalCount: number;
  maxRenewals: number;
  clampedBy: "absoluteLifetime" | null;
}

export type SessionStatus = "ACTIVE" | "EXPIRED" | "REVOKED";

/** A session as the authority tells of it. */
export interface Session {
  sessionId: string;
  subjectId: string;
  subjectName: string | null;
  ownerId: string | null;
  device: string | null;
  mode: "fixed" | "sliding";
  status: SessionStatus;
  renewalCount: number;
  maxRenewals: number;
  renewalsLeft: number;
  ttl: number;
  expiresIn: number;
  createdAt: Timestamp;
  expiresAt: Timestamp;
  absoluteExpiresAt: Timestamp;
  renewedAt: Timestamp | null;
  renewAt: Timestamp | null;
  idleTimeout: number | null;
  lastSeenAt: Timestamp | null;
  revokedAt: Timestamp | null;
  /** What ended it, such as `renewal_rejected`. */
  revokedTrigger: string | null;
  revokedReason: string | null;
  scopes: string[];
  metadata: JsonObject | null;
  constraints: Constraints | null;
  usage: Usage;
  onReuse: "reject" | "revoke";
  asOfPosition: number | string;
}

/** Which sessions to list: those that are active, of all that the credential may see, 50 at a time. */
export interface SessionFilter {
  subjectId?: string;
  ownerId?: string;
  device?: string;
  status?: "active" | "expired" | "revoked" | "all";
  /** How many at a time, up to 200. */
  limit?: number;
  /** Where to go on: the last page's `nextCursor`. */
  cursor?: string;
}

/** A part of a list. */
export interface Page<T> {
  items: T[];
  /** Where the next part begins; null at the end. */
  nextCursor: string | null;
}

/** An active token. */
export interface LiveToken {
  active: true;
  sessionId: string;
  subjectId: string;
  ownerId: string | null;
  device: string | null;
  scopes: string[];
  expiresAt: Timestamp;
  absoluteExpiresAt: Timestamp;
  renewalCount: number;
  renewAt: Timestamp | null;
  shouldRenew: boolean;
  asOfPosition: number | string;
  metadata?: JsonObject | null;
}

/** A token that is not good. */
export interface DeadToken {
  active: false;
  code:
    | "INVALID_TOKEN"
    | "SESSION_REVOKED"
    | "SUBJECT_SUSPENDED"
    | "TOKEN_SUPERSEDED"
    | "TOKEN_EXPIRED"
    | "SESSION_IDLE"
    | (string & {});
}

/** What a token is. */
export type Introspection = LiveToken | DeadToken;

/** A session that has ended. */
export interface RevokedSession {
  sessionId: string;
  status: "REVOKED";
  revokedAt: Timestamp;
  trigger: string;
}

/** How to end a session. */
export interface RevokeOptions {
  reason?: string;
  /** Owner and admin: whether this is a veto of the latest renewal. Left out: it is one within the window. */
  rejectRenewal?: boolean;
  /** Owner and admin: suspend its subject in the same step. */
  suspend?: boolean;
}

/** A use of a session. */
export interface NewUsage {
  operation: string;
  /** A decimal number as text, such as `"12.50"`. */
  amount?: string;
  destination?: string;
}

/** What a session was used for. */
export interface Usage {
  transactions: number;
  totalAmount: string;
  lastAt: Timestamp | null;
}

/** An access token, which services check offline. */
export interface AccessToken {
  accessToken: string;
  expiresAt: Timestamp;
}

/** What an access token is asked for. */
export interface NewAccessToken {
  /** 60 to 1800 seconds. */
  ttl?: number;
  /** The service that it is for. */
  audience?: string;
}

/** What a session's own stream tells. */
export interface SessionEvent {
  kind: "suspended" | "resumed" | "ended";
  position: number | string;
  at: Timestamp;
  sessionId: string;
  /** What ended it; null when it ended by itself. */
  trigger: string | null;
  /** When a suspension ends by itself. */
  until: Timestamp | null;
}

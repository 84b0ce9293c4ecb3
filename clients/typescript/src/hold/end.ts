/** Why a session is over. */

import type { Problem } from "../errors.js";

/** Why a session is over. */
export type End =
  /** The authority said so: `SESSION_REVOKED`, `TOKEN_EXPIRED`, and what else it does not take back. */
  | { readonly kind: "refused"; readonly problem: Problem }
  /** By our clock its period has ended, no renewal was granted, and the authority cannot be asked. */
  | { readonly kind: "expired"; readonly trouble: string }
  /** Its holder ended it. */
  | { readonly kind: "revoked" };

/** What no one decided: a newer session took its place, the server was restored, its holder ended it. */
const UNDECIDED = ["evicted", "restore", "self"];

/**
 * Whether others ended the session or suspended its subject: its holder must not begin another one by itself. A period
 * that is over, an eviction and a restored server are no such thing.
 */
export function endedByOthers(end: End): boolean {
  if (end.kind !== "refused") return false;
  const { code, trigger } = end.problem;
  if (code === "SUBJECT_SUSPENDED") return true;
  return code === "SESSION_REVOKED" && !UNDECIDED.includes(trigger ?? "");
}

const BY_ITS_HOLDER = "its holder ended it";

/** What ended a session, in words. */
const TRIGGERS: Readonly<Partial<Record<string, string>>> = {
  manual_revoke: "an admin, an issuer or its owner ended it",
  renewal_rejected: "its renewal was vetoed",
  evicted: "a newer session needed its place",
  token_reuse: "a replaced token came back",
  subject_revoked: "all sessions of its subject were ended, or all on its device",
  bulk: "it was one of many that were ended at once",
  restore: "the authority was restored from a backup that may lack events",
};

/** An end in words. */
export function describe(end: End): string {
  switch (end.kind) {
    case "refused": {
      const { code, trigger, detail, title } = end.problem;
      // Whoever ends a session may hear of it from the authority first.
      if (trigger === "self") return BY_ITS_HOLDER;
      return `${code}: ${(trigger == null ? undefined : TRIGGERS[trigger]) ?? detail ?? title}`;
    }
    case "expired":
      return `its period has ended before it could be renewed: ${end.trouble}`;
    case "revoked":
      return BY_ITS_HOLDER;
  }
}

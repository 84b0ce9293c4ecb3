/** Whose token it is, and who judges it. */

import type { Timestamp } from "../clock/timestamp.js";

/** Who holds a token that was taken: what access tokens and introspection both tell. */
export interface TokenHolder {
  readonly subjectId: string;
  readonly sessionId: string;
  /** Who answers for the subject; access tokens do not tell. */
  readonly ownerId: string | null;
  /** What the session may be used for. */
  readonly scopes: readonly string[];
  /** From when on the token counts no more. */
  readonly expiresAt: Timestamp;
}

/** Takes tokens or rejects them with a `RejectedTokenError`: a `Verifier` or an `Introspector`. */
export interface TokenJudge {
  judge(token: string): Promise<TokenHolder>;
}

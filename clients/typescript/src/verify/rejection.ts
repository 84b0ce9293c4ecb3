/** Why a token is not taken. */

/** Why a token is not taken. */
export type RejectionReason =
  | "notReady"
  | "stale"
  | "unreachable"
  | "malformed"
  | "unknownKey"
  | "badSignature"
  | "unfitClaim"
  | "wrongIssuer"
  | "wrongAudience"
  | "notYetValid"
  | "expired"
  | "revoked"
  | "suspended"
  | "superseded"
  | "idle";

const WORDS: Record<RejectionReason, string> = {
  notReady: "the verifier has not heard the authority yet",
  stale: "the verifier has not heard the authority for too long",
  unreachable: "the authority gives no answer",
  malformed: "it is no token of this kind",
  unknownKey: "it is signed with a key that the authority does not have",
  badSignature: "its signature is wrong",
  unfitClaim: "a claim of it is missing or not understood",
  wrongIssuer: "its issuer is another one",
  wrongAudience: "it is meant for another audience",
  notYetValid: "it is not valid yet",
  expired: "it has expired",
  revoked: "its session was revoked",
  suspended: "its subject is suspended",
  superseded: "a newer token replaced it",
  idle: "its session was idle for too long",
};

/** A token that is not taken. Nothing in it quotes the token. */
export class RejectedTokenError extends Error {
  override readonly name = "RejectedTokenError";
  readonly reason: RejectionReason;
  /** When to come back, in seconds, if the authority said so. */
  readonly retryAfter: number | undefined;

  constructor(reason: RejectionReason, retryAfter?: number) {
    super(WORDS[reason]);
    this.reason = reason;
    this.retryAfter = retryAfter;
  }

  /** Whether it says something about the verifier and nothing about the token: the same token may be taken later. */
  get isTemporary(): boolean {
    return ["notReady", "stale", "unreachable"].includes(this.reason);
  }

  /** Whether news from the authority might change the answer: a newer key, or a clock there that was moved. */
  get wantsNews(): boolean {
    return ["unknownKey", "notYetValid"].includes(this.reason);
  }
}

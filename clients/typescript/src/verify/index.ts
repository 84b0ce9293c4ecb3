/**
 * Checks Tenure's tokens in a service: access tokens offline, session tokens by asking. Both fail closed: what cannot be
 * judged does not pass. `docs/verify.md` says what the staleness bound means.
 *
 * ```ts
 * import { Verifier } from "@tenure/client/verify";
 *
 * const verifier = new Verifier({ url: "https://tenure.example", key: process.env.TENURE_KEY, audience: "orders" });
 * const claims = await verifier.check(token);
 * ```
 */

export type { Clock } from "#clock";
export type { AccessClaims } from "./claims.js";
export { Introspector, type IntrospectorOptions } from "./introspector.js";
export type { Rules, VerifierStatus } from "./knowledge.js";
export { RejectedTokenError, type RejectionReason } from "./rejection.js";
export type { TokenHolder, TokenJudge } from "./token-holder.js";
export { Verifier, type VerifierOptions } from "./verifier.js";

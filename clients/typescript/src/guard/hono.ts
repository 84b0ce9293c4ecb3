/**
 * Guards routes of Hono.
 *
 * ```ts
 * import { guard } from "@tenure/client/hono";
 *
 * app.get("/orders", guard(verifier, { scopes: ["orders:read"] }), (c) => c.text(`the orders of ${c.var.holder.subjectId}`));
 * ```
 */

import type { MiddlewareHandler } from "hono";

import type { TokenHolder, TokenJudge } from "../verify/token-holder.js";
import { admission, type GuardOptions } from "./admission.js";

export type { GuardOptions } from "./admission.js";
export type { TokenHolder, TokenJudge } from "../verify/token-holder.js";

/** What a guarded handler finds in its context. */
export interface Guarded {
  Variables: { holder: TokenHolder };
}

/** Lets requests through whose bearer token this verifier or introspector takes. */
export function guard(judge: TokenJudge, options?: GuardOptions): MiddlewareHandler<Guarded> {
  const admit = admission(judge, options);
  return async (context, next) => {
    const header = context.req.header("authorization");
    const admitted = await admit(header === undefined ? [] : [header]);
    if ("denial" in admitted) return new Response(null, admitted.denial);
    context.set("holder", admitted.holder);
    await next();
    return undefined;
  };
}

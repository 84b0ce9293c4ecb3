/**
 * Guards routes of Express, and of whatever else takes Connect's middleware.
 *
 * ```ts
 * import { guard, holderOf } from "@tenure/client/express";
 *
 * app.get("/orders", guard(verifier, { scopes: ["orders:read"] }), (req, res) => {
 *   res.send(`the orders of ${holderOf(req).subjectId}`);
 * });
 * ```
 */

import type { IncomingMessage, ServerResponse } from "node:http";

import type { TokenHolder, TokenJudge } from "../verify/token-holder.js";
import { admission, type GuardOptions } from "./admission.js";

export type { GuardOptions } from "./admission.js";
export type { TokenHolder, TokenJudge } from "../verify/token-holder.js";

/** What Connect and Express call middleware. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

const holders = new WeakMap<IncomingMessage, TokenHolder>();

/** Lets requests through whose bearer token this verifier or introspector takes. */
export function guard(judge: TokenJudge, options?: GuardOptions): Middleware {
  const admit = admission(judge, options);
  return (request, response, next) => {
    // `headers` has the first of several only.
    void admit(request.headersDistinct["authorization"] ?? []).then((admitted) => {
      if ("denial" in admitted) {
        response.writeHead(admitted.denial.status, admitted.denial.headers).end();
        return;
      }
      holders.set(request, admitted.holder);
      next();
    }, next);
  };
}

/** Whose request it is. Throws for one that passed no guard. */
export function holderOf(request: IncomingMessage): TokenHolder {
  const holder = holders.get(request);
  if (holder === undefined) throw new Error("the request passed no guard");
  return holder;
}

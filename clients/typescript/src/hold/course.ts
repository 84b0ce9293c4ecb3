/** What a holder is to do next, and when. Pure: time is an argument. */

import { backoff } from "../backoff.js";
import { RefusedError } from "../errors.js";
import { at, overAt, type Grant } from "./grant.js";

/** What is next. */
export type Next =
  | { readonly kind: "renew" }
  | { readonly kind: "check" }
  | { readonly kind: "end" }
  | { readonly kind: "wait"; readonly until: number };

/** How the background gets on. */
export class Course {
  /** What is wrong at present, and tried again. */
  trouble: string | undefined;
  #failures = 0;
  /** No renewal before then, after a failure. */
  #notBefore: number | undefined;
  /** When the session was last checked. */
  #checked: number | undefined;

  /** `checkEvery` is in milliseconds; Infinity is never. */
  next(grant: Grant, checkEvery: number, now: number): Next {
    const end = overAt(grant);
    if (now >= end) return { kind: "end" };
    const renewal = this.#renewalAt(grant, now);
    if (renewal <= now) return { kind: "renew" };
    const check = checkEvery === Infinity ? Infinity : (this.#checked ?? -Infinity) + checkEvery;
    if (check <= now) return { kind: "check" };
    return { kind: "wait", until: Math.min(renewal, check, end) };
  }

  /** What was begun is finished at once. */
  #renewalAt(grant: Grant, now: number): number {
    if (grant.renewalKey === null && grant.renewAt === null) return Infinity;
    const wanted = grant.renewalKey === null && grant.renewAt !== null ? at(grant.renewAt) : now;
    return Math.max(wanted, this.#notBefore ?? wanted);
  }

  get notBefore(): number | undefined {
    return this.#notBefore;
  }

  checkedAt(now: number): void {
    this.#checked = now;
  }

  wentWell(): void {
    this.#failures = 0;
    this.#notBefore = undefined;
    this.trouble = undefined;
  }

  failed(error: Error, now: number): void {
    this.#failures += 1;
    const refusal = error instanceof RefusedError ? error : undefined;
    const backedOff = now + backoff(this.#failures, refusal?.retryAfter);
    this.#notBefore = Math.max(backedOff, refusal?.asksOnceMoreAt ?? backedOff);
    this.trouble = error.message;
  }
}

/** A verifier as a program holds it. */

import { machine, type Clock } from "#clock";
import { sleep } from "../clock/server-time.js";
import { claimsOf, type AccessClaims } from "./claims.js";
import { Connection } from "./connection.js";
import { Follower } from "./follower.js";
import { Knowledge, type Rules, type VerifierStatus } from "./knowledge.js";
import { LONGEST_TOKEN, UntrustedToken } from "./paseto.js";
import { RejectedTokenError } from "./rejection.js";
import type { TokenHolder, TokenJudge } from "./token-holder.js";

/** A request with a token of an unknown key waits so long for news at most, in milliseconds. */
const NEWS_PATIENCE = 1_000;

export interface VerifierOptions extends Partial<Rules> {
  /** The authority's address. */
  url: string;
  /** An API key of the role `verifier`. */
  key: string;
  clock?: Clock;
}

/**
 * Checks access tokens (PASETO v4.public) without asking about each. It fails closed: until the authority has told all
 * for the first time, and when its last complete news are older than `stalenessBound`, it refuses every token.
 */
export class Verifier implements TokenJudge, AsyncDisposable {
  readonly rules: Rules;
  readonly #clock: Clock;
  readonly #knowledge: Knowledge;
  readonly #stop = new AbortController();
  readonly #follower: Follower;
  readonly #following: Promise<void>;
  /** They wait for the end of a round. */
  readonly #waiting = new Set<(begun: number) => void>();
  #wantedAt = -Infinity;

  /** Follows the authority from now on, until it is closed. */
  constructor(options: VerifierOptions) {
    this.rules = rulesOf(options);
    this.#clock = options.clock ?? machine;
    this.#knowledge = new Knowledge(this.rules);
    this.#follower = new Follower(new Connection(options.url, options.key), this.#knowledge, {
      rules: this.rules,
      clock: this.#clock,
      stop: this.#stop.signal,
      onRound: (begun) => {
        for (const told of this.#waiting) told(begun);
      },
    });
    this.#following = this.#follower.follow();
  }

  /** Resolves when tokens are judged: when the authority has told all, and recently. */
  async ready(): Promise<void> {
    while (!this.status().isFresh) await this.#roundBegunAt(-Infinity);
  }

  /** Whether this token counts now, by what is known; and what it says. Rejects with a `RejectedTokenError`. */
  async check(token: string): Promise<AccessClaims> {
    this.#knowledge.authorityTime(this.#clock.elapsed());
    const untrusted = token.length > LONGEST_TOKEN ? undefined : UntrustedToken.parse(token);
    if (untrusted === undefined) throw new RejectedTokenError("malformed");
    const key = this.#knowledge.keyOf(untrusted, this.#clock.elapsed());
    const payload = await untrusted.open(key);
    if (payload === undefined) throw new RejectedTokenError("badSignature");
    const { issuedAt, notBefore, expiresAt, ...claims } = claimsOf(payload);
    this.#knowledge.judge({ ...claims, issuedAt, notBefore, expiresAt }, key.id, this.#clock.elapsed());
    return claims;
  }

  /**
   * The same; but a token that only news could let in makes the authority be asked at once, and is judged again by its
   * answer. That happens once in a poll at most, whatever is shown.
   */
  async checkWithNews(token: string): Promise<AccessClaims> {
    try {
      return await this.check(token);
    } catch (error) {
      if (!(error instanceof RejectedTokenError) || !error.wantsNews || !(await this.#news())) throw error;
      return await this.check(token);
    }
  }

  async judge(token: string): Promise<TokenHolder> {
    const { sub, sid, scopes, exp } = await this.checkWithNews(token);
    return { subjectId: sub, sessionId: sid, ownerId: null, scopes, expiresAt: exp };
  }

  /** How it stands: for a health check, or to show. */
  status(): VerifierStatus {
    return this.#knowledge.status(this.#clock.elapsed());
  }

  /** Hears no more, and refuses every token once the staleness bound has passed. */
  async close(): Promise<void> {
    this.#stop.abort(new Error("the verifier is closed"));
    await this.#following;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Whether there are news. None when they came a moment ago, and so will not come again at once. */
  async #news(): Promise<boolean> {
    const now = this.#clock.elapsed();
    if (now - this.#wantedAt < this.rules.poll) return false;
    this.#wantedAt = now;
    this.#follower.wake();
    // When no answer comes the token is judged by what is known.
    await Promise.race([this.#roundBegunAt(now), sleep(NEWS_PATIENCE)]);
    return true;
  }

  /** Resolves at the end of a round that was not begun before. */
  #roundBegunAt(at: number): Promise<void> {
    return new Promise((resolve) => {
      const told = (begun: number): void => {
        if (begun < at) return;
        this.#waiting.delete(told);
        resolve();
      };
      this.#waiting.add(told);
    });
  }
}

function rulesOf(options: VerifierOptions): Rules {
  const rules = {
    issuer: options.issuer ?? "tenure",
    audience: options.audience ?? null,
    clockSkew: options.clockSkew ?? 5_000,
    poll: options.poll ?? 1_000,
    stalenessBound: options.stalenessBound ?? 10_000,
    rememberedRevocations: options.rememberedRevocations ?? 1_000_000,
  };
  if (rules.poll < 10) throw new RangeError("poll must be at least 10 ms");
  if (rules.stalenessBound < rules.poll * 2) throw new RangeError("stalenessBound must be at least twice poll");
  return rules;
}

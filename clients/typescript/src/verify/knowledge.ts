/**
 * What a verifier knows, and how it judges by it. No I/O, and time is an argument: that of a clock of this machine that
 * cannot be set. What time it is at the authority follows from its last complete answer; the wall clock of this machine
 * is never asked, so that it may be wrong.
 */

import type { ReadClaims } from "./claims.js";
import type { PublicKey, UntrustedToken } from "./paseto.js";
import { RejectedTokenError } from "./rejection.js";
import { Revocations } from "./revocations.js";
import type { FeedItem, PublishedKey } from "./wire.js";

/** What a verifier takes, and how long it may be without news. */
export interface Rules {
  /** The authority's name, exactly as tokens have it in `iss`: its `server.public_url`, or `tenure`. */
  readonly issuer: string;
  /**
   * This service's name, exactly as tokens have it in `aud`. With a name only tokens that were made for it are taken;
   * without one only tokens that were made for no one in particular (RFC 7519, section 4.1.3).
   */
  readonly audience: string | null;
  /** So much earlier than `nbf` and `iat` say a token is taken, in milliseconds. The end of a token has no leeway. */
  readonly clockSkew: number;
  /** The authority is asked this often, in milliseconds, where its feed is no stream. */
  readonly poll: number;
  /** When the last complete answer is older than this, in milliseconds, every token is refused. */
  readonly stalenessBound: number;
  /** So many revocations are told apart; beyond it the oldest are taken for wider than they were. */
  readonly rememberedRevocations: number;
}

/** The last complete answer: its keys, and its revocations up to the end of the feed. */
export interface Heard {
  /** When it was asked for. What was recorded before is known. */
  readonly asked: number;
  /** When the part of it was asked for that tells the time. */
  readonly lastAsked: number;
  /** What time it was at the authority when it gave that part. */
  readonly authorityTime: number;
}

/** How a verifier stands. */
export interface VerifierStatus {
  /** How long ago the last complete answer was asked for, in milliseconds; undefined before the first. */
  readonly age: number | undefined;
  /** Whether tokens are judged, and not all refused. */
  readonly isFresh: boolean;
  readonly keys: number;
  readonly revocations: number;
}

export class Knowledge {
  readonly #rules: Rules;
  readonly #revocations: Revocations;
  #keys = new Map<string, PublishedKey>();
  #heard: Heard | undefined;

  /** It knows nothing yet and refuses everything. */
  constructor(rules: Rules) {
    this.#rules = rules;
    this.#revocations = new Revocations(rules.rememberedRevocations);
  }

  /**
   * What time it is at the authority, if tokens may be judged. It is rather too late than too early: the way of its
   * answer to us is counted in.
   */
  authorityTime(now: number): number {
    if (this.#heard === undefined) throw new RejectedTokenError("notReady");
    if (now - this.#heard.asked >= this.#rules.stalenessBound) throw new RejectedTokenError("stale");
    return this.#heard.authorityTime + (now - this.#heard.lastAsked);
  }

  /** The key that a token says it was signed with, when the token may be judged at all and the key is a good one. */
  keyOf(token: UntrustedToken, now: number): PublicKey {
    const time = this.authorityTime(now);
    const id = token.keyId();
    if (id === undefined) throw new RejectedTokenError("malformed");
    return this.#key(id, time);
  }

  /** Judges what a genuine token says, now. */
  judge(claims: ReadClaims, keyId: string, now: number): void {
    const time = this.authorityTime(now);
    this.#key(keyId, time);
    const { issuer, audience, clockSkew } = this.#rules;
    if (claims.iss !== issuer) throw new RejectedTokenError("wrongIssuer");
    if (claims.aud !== audience) throw new RejectedTokenError("wrongAudience");
    if (time >= claims.expiresAt) throw new RejectedTokenError("expired");
    const latest = time + clockSkew;
    if (claims.notBefore > latest || claims.issuedAt > latest) throw new RejectedTokenError("notYetValid");
    if (this.#revocations.covers(claims)) throw new RejectedTokenError("revoked");
  }

  status(now: number): VerifierStatus {
    const age = this.#heard === undefined ? undefined : now - this.#heard.asked;
    const isFresh = age !== undefined && age < this.#rules.stalenessBound;
    return { age, isFresh, keys: this.#keys.size, revocations: this.#revocations.size };
  }

  /** Takes in all keys of the authority: what is not among them counts no more. */
  learnKeys(keys: readonly PublishedKey[]): void {
    this.#keys = new Map(keys.map((key) => [key.id, key]));
  }

  /** Takes in revocations. They count at once, whether the rest is known or not. */
  learn(item: FeedItem): void {
    for (const target of item.targets) this.#revocations.learn(item.at, target);
  }

  /** No token that was signed before this time passes any more. */
  refuseSignedBefore(time: number): void {
    this.#revocations.refuseSignedBefore(time);
  }

  /** The authority has told all that it had when it was asked. */
  heard(heard: Heard): void {
    this.#heard = heard;
    this.#revocations.forgetBefore(heard.authorityTime);
  }

  #key(id: string, time: number): PublishedKey {
    const key = this.#keys.get(id);
    if (key === undefined || time >= key.retireAt) throw new RejectedTokenError("unknownKey");
    return key;
  }
}

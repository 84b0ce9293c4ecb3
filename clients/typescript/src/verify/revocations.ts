/**
 * The revocations that may still meet a token. Pure.
 *
 * A revocation of a session refuses its tokens, whenever they were signed. One of many sessions comes with their ids,
 * or, when there are too many, with its selector alone. No access token tells an owner or a device, nor whether its
 * session had begun. So a selector is judged by when a token was signed, and taken for wider than it is: every token
 * that could be meant is refused, if it was signed before. A session that lives gets a new token, and that is taken.
 *
 * The memory is bounded twice. A revocation is forgotten when no token that was signed before it can be alive. And where
 * there are too many, the oldest is turned into a selector of everyone, which takes no room.
 */

import { LONGEST_LIFE, type ReadClaims } from "./claims.js";

/**
 * A selector is recorded, its sessions are counted, it is synced, and then counts; a token that is signed meanwhile may
 * bear a later time than it. By so much, at most, in milliseconds.
 */
const SETTLING = 5_000;
/** A revocation is remembered for as long as a token may live that was signed before, in milliseconds. */
export const REMEMBERED = LONGEST_LIFE + 2 * SETTLING;
/** A subject with more different rules than this is judged more coarsely. */
const RULES_OF_A_SUBJECT = 8;

/** Whom a revocation is about, as far as an access token can tell: a session, a subject, or everyone. */
export type Target =
  { readonly session: string } | { readonly subject: string; readonly kept: string | undefined } | "everyone";

/** A selector of one subject. */
interface Rule {
  readonly at: number;
  readonly kept: string | undefined;
}

type Signed = Pick<ReadClaims, "sub" | "sid" | "issuedAt">;

export class Revocations {
  readonly #capacity: number;
  /** Oldest first. */
  readonly #sessions = new Map<string, number>();
  readonly #subjects = new Map<string, Rule[]>();
  /** The latest selector of everyone. */
  #everyone = -Infinity;

  /** So many revocations are told apart at most. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** How many revocations take room. */
  get size(): number {
    return this.#sessions.size + this.#subjects.size;
  }

  /** Whether the session that these claims name is ended, or may be. */
  covers(claims: Signed): boolean {
    if (this.#sessions.has(claims.sid) || wasSignedBy(this.#everyone, claims)) return true;
    const rules = this.#subjects.get(claims.sub) ?? [];
    return rules.some((rule) => rule.kept !== claims.sid && wasSignedBy(rule.at, claims));
  }

  /** Takes in a revocation. The same one twice is the same as once. */
  learn(at: number, target: Target): void {
    if (target === "everyone") this.#everyone = Math.max(this.#everyone, at);
    else if ("session" in target) this.#sessions.set(target.session, this.#sessions.get(target.session) ?? at);
    else
      putLast(
        this.#subjects,
        target.subject,
        withRule(this.#subjects.get(target.subject) ?? [], { at, kept: target.kept }),
      );
    while (this.size > this.#capacity) this.#widenTheOldest();
  }

  /** Covers every token that was signed before this time, and none that was signed after it. */
  refuseSignedBefore(time: number): void {
    this.#everyone = Math.max(this.#everyone, time - SETTLING);
  }

  /** Forgets what no living token can meet. */
  forgetBefore(now: number): void {
    const isOver = (at: number): boolean => at + REMEMBERED <= now;
    forgetWhile(this.#sessions, isOver);
    forgetWhile(this.#subjects, (rules) => isOver(latestOf(rules)));
    if (isOver(this.#everyone)) this.#everyone = -Infinity;
  }

  #widenTheOldest(): void {
    const [session, subject] = [first(this.#sessions), first(this.#subjects)];
    const sessionAt = session?.[1] ?? Infinity;
    const subjectAt = subject === undefined ? Infinity : latestOf(subject[1]);
    this.#everyone = Math.max(this.#everyone, Math.min(sessionAt, subjectAt));
    if (sessionAt <= subjectAt && session !== undefined) this.#sessions.delete(session[0]);
    else if (subject !== undefined) this.#subjects.delete(subject[0]);
  }
}

/** Whether a token may have been signed before what was recorded at this time counted. */
function wasSignedBy(at: number, claims: Signed): boolean {
  return claims.issuedAt <= at + SETTLING;
}

/** The rules of a subject with one more. */
function withRule(rules: Rule[], rule: Rule): Rule[] {
  const same = rules.find((known) => known.kept === rule.kept);
  const others = rules.filter((known) => known !== same);
  if (others.length === RULES_OF_A_SUBJECT) return [{ at: latestOf([...rules, rule]), kept: undefined }];
  return [...others, { ...rule, at: Math.max(rule.at, same?.at ?? rule.at) }];
}

function latestOf(rules: Rule[]): number {
  return Math.max(...rules.map((rule) => rule.at));
}

function putLast<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
}

function first<V>(map: Map<string, V>): [string, V] | undefined {
  for (const entry of map) return entry;
  return undefined;
}

function forgetWhile<V>(map: Map<string, V>, isOver: (value: V) => boolean): void {
  for (const [key, value] of map) {
    if (!isOver(value)) return;
    map.delete(key);
  }
}

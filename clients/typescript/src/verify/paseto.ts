/**
 * PASETO v4.public. Before the signature is verified nothing is read but the key's id, and that is good for choosing
 * from our own keys only. <https://github.com/paseto-standard/paseto-spec>, <https://github.com/paseto-standard/paserk>
 */

import { webcrypto } from "#crypto";
import { blake2b } from "./blake2b.js";
import { concat, fromBase64Url, textOf, toBase64Url, utf8 } from "./bytes.js";

/** No token is longer: 64 scopes of 128 characters and all the rest take less than 13 000. */
export const LONGEST_TOKEN = 16_384;
/** No footer is longer: it names a key. */
const LONGEST_FOOTER = 512;
const HEADER = "v4.public.";
const SIGNATURE = 64;

/** A key that verifies access tokens. */
export interface PublicKey {
  /** Its PASERK id, `k4.pid.…`, computed from the key: one key cannot be shown under another's name. */
  readonly id: string;
  readonly key: Awaited<ReturnType<typeof webcrypto.subtle.importKey>>;
}

/** The key of a PASERK `k4.public` text; undefined when it is none. */
export async function publicKeyOf(paserk: string): Promise<PublicKey | undefined> {
  const bytes = paserk.startsWith("k4.public.") ? fromBase64Url(paserk.slice("k4.public.".length)) : undefined;
  if (bytes?.length !== 32) return undefined;
  try {
    const key = await webcrypto.subtle.importKey("raw", bytes, "Ed25519", true, ["verify"]);
    return { id: idOf(paserk), key };
  } catch {
    return undefined;
  }
}

/** <https://github.com/paseto-standard/paserk/blob/master/operations/ID.md> */
export function idOf(paserk: string): string {
  return `k4.pid.${toBase64Url(blake2b(utf8.encode(`k4.pid.${paserk}`), 33))}`;
}

/** A text that has the form of a token. Nothing in it is true yet. */
export class UntrustedToken {
  readonly #message: Uint8Array<ArrayBuffer>;
  readonly #signature: Uint8Array<ArrayBuffer>;
  readonly #footer: Uint8Array<ArrayBuffer>;

  private constructor(body: Uint8Array<ArrayBuffer>, footer: Uint8Array<ArrayBuffer>) {
    this.#message = body.slice(0, -SIGNATURE);
    this.#signature = body.slice(-SIGNATURE);
    this.#footer = footer;
  }

  /** Takes it apart; nothing that is too long is decoded. */
  static parse(text: string): UntrustedToken | undefined {
    if (text.length > LONGEST_TOKEN || !text.startsWith(HEADER)) return undefined;
    const [body, footer, ...more] = text.slice(HEADER.length).split(".").map(fromBase64Url);
    if (body === undefined || footer === undefined || more.length > 0 || body.length <= SIGNATURE) return undefined;
    return new UntrustedToken(body, footer);
  }

  /** The key that it says it was signed with. */
  keyId(): string | undefined {
    if (this.#footer.length > LONGEST_FOOTER) return undefined;
    try {
      const { kid } = JSON.parse(textOf(this.#footer) ?? "") as { kid?: unknown };
      return typeof kid === "string" ? kid : undefined;
    } catch {
      return undefined;
    }
  }

  /** Its payload, when this key signed it and nothing was touched since. */
  async open(key: PublicKey): Promise<string | undefined> {
    const signed = authenticated(utf8.encode(HEADER), this.#message, this.#footer, new Uint8Array());
    const isGenuine = await webcrypto.subtle.verify("Ed25519", key.key, this.#signature, signed);
    return isGenuine ? textOf(this.#message) : undefined;
  }
}

/** Pre-authentication encoding: no two lists of parts give the same bytes. */
function authenticated(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return concat(length(parts.length), ...parts.flatMap((part) => [length(part.length), part]));
}

function length(count: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setUint32(0, count, true);
  return new Uint8Array(bytes.buffer);
}

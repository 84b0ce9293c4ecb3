/** Where an authority may be asked. */

import { UnsendableError } from "./errors.js";

/** `http` or `https`, a host, perhaps a port and a path; by `http` to this machine only, unless that is allowed. */
export function addressOf(text: string, allowPlaintext: boolean): URL {
  const url = parsed(text);
  if (url.username !== "" || url.password !== "") {
    throw new UnsendableError("the address of the authority must not hold a name or password");
  }
  if (!["http:", "https:"].includes(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new UnsendableError(`${text}: must be http(s)://HOST[:PORT][/PATH]`);
  }
  if (!allowPlaintext && url.protocol === "http:" && !leadsHere(url)) {
    throw new UnsendableError(`${text}: keys and tokens are sent by https://, or by http:// to this machine only`);
  }
  return url;
}

/** `localhost` leads here (RFC 6761); another name does not, whatever it looks like. */
export function leadsHere(url: URL): boolean {
  return url.hostname === "localhost" || url.hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(url.hostname);
}

function parsed(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw new UnsendableError(`${text}: is no URL such as http://127.0.0.1:7300`);
  }
}

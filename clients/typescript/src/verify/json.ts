/** What `JSON.parse` does not tell: whether an object names a member twice. */

/** A text in quotes, or what opens, closes or parts. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]/gs;

/** Whether the outermost object of a JSON text, which was parsed before, names a member twice. */
export function namesTwice(json: string): boolean {
  const names = new Set<string>();
  let [depth, last] = [0, ""];
  for (const [token] of json.matchAll(TOKENS)) {
    if (token === "{" || token === "[") depth += 1;
    if (token === "}" || token === "]") depth -= 1;
    if (token === ":" && depth === 1) {
      const name = JSON.parse(last) as string;
      if (names.has(name)) return true;
      names.add(name);
    }
    last = token;
  }
  return false;
}

// Checks by itself, with the browser's cryptography, that an event is in a history that a key has signed: RFC 6962 for the
// tree, C2SP signed-note and tlog-checkpoint for the head. Nothing is believed that the server says of the outcome.

const pinned = "tenure.verifier-key";
const form = document.querySelector("#proof");
const outcome = document.querySelector("#outcome");
const utf8 = new TextEncoder();

const ofHex = (text) => Uint8Array.from((text.match(/../g) || []).map((pair) => parseInt(pair, 16)));
const ofBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const isSame = (a, b) => a.length === b.length && a.every((byte, index) => byte === b[index]);

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));
}

function must(isSo, why) {
  if (!isSo) throw new Error(why);
}

// A vkey: name, key id and key with its algorithm (1 is Ed25519), joined by "+".
async function readKey(text) {
  const [, name, id, key] = text.match(/^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/) || [];
  must(name, "the verifier key is no vkey: name+id+key");
  let bytes;
  try { bytes = ofBase64(key); } catch { must(false, "the verifier key is no base64"); }
  must(bytes.length === 33 && bytes[0] === 1, "the verifier key is no Ed25519 key");
  const hash = await sha256(utf8.encode(name + "\n"), bytes);
  must(isSame(hash.slice(0, 4), ofHex(id)), "the verifier key's id does not fit its key");
  return { name, id: ofHex(id), key: await crypto.subtle.importKey("raw", bytes.slice(1), "Ed25519", false, ["verify"]) };
}

async function readHead(note, key) {
  const end = note.indexOf("\n\n");
  must(end > 0, "the head is not signed");
  const text = note.slice(0, end + 1);
  const lines = note.slice(end + 2).split("\n").filter(Boolean);
  const own = lines.map((line) => line.split(" ")).filter(([dash, name]) => dash === "\u2014" && name === key.name);
  const signatures = own.map(([, , signature]) => ofBase64(signature)).filter((bytes) => isSame(bytes.slice(0, 4), key.id));
  must(signatures.length > 0, "the head is not signed by " + key.name);
  for (const signature of signatures) {
    const fits = await crypto.subtle.verify("Ed25519", key.key, signature.slice(4), utf8.encode(text));
    must(fits, "the signature of " + key.name + " does not fit the head");
  }
  const [origin, size, root] = text.split("\n");
  must(origin === key.name && /^[1-9][0-9]*$/.test(size), "the head is of another log");
  return { size: BigInt(size), root: ofBase64(root) };
}

// RFC 9162, section 2.1.3.2.
async function climb(leaf, index, size, hashes) {
  let [place, last, node] = [index, size - 1n, leaf];
  for (const hash of hashes) {
    must(last > 0n, "the proof has too many hashes");
    if (place % 2n === 1n || place === last) {
      node = await sha256(Uint8Array.of(1), hash, node);
      while (place % 2n === 0n && place > 0n) [place, last] = [place / 2n, last / 2n];
    } else {
      node = await sha256(Uint8Array.of(1), node, hash);
    }
    [place, last] = [place / 2n, last / 2n];
  }
  must(last === 0n, "the proof has too few hashes");
  return node;
}

async function fetched(path) {
  const reply = await fetch("/console/audit/" + path);
  const body = await reply.json().catch(() => ({}));
  must(reply.ok, body.detail || "the server gave no " + path.split("?")[0]);
  return body;
}

async function prove(position, keyText) {
  must(/^[1-9][0-9]{0,15}$/.test(position), "the position is no number");
  must(keyText, "there is no verifier key to check against");
  const key = await readKey(keyText);
  const head = await readHead((await fetched("head")).signedHead, key);
  must(BigInt(position) <= head.size, "the head has " + head.size + " events, and this is position " + position);
  const event = (await fetched("event?position=" + position)).items[0];
  must(event && event.position === Number(position), "the server does not show this event");
  const proof = await fetched("proof?position=" + position + "&size=" + head.size);
  const leaf = await sha256(Uint8Array.of(0), ofHex(event.recordHash));
  must(isSame(leaf, ofHex(proof.leafHash)), "the proof is of another event");
  const root = await climb(leaf, BigInt(position) - 1n, head.size, proof.hashes.map(ofHex));
  must(isSame(root, head.root), "the proof does not lead to the signed root");
  return "Proved by " + key.name + ": event " + position + " (" + event.kind + ") is in the history of " + head.size + " events.";
}

form.elements.key.value = localStorage.getItem(pinned) || "";
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  outcome.textContent = "Checking…";
  const key = form.elements.key.value.trim();
  try {
    const proved = await prove(form.elements.position.value.trim(), key);
    localStorage.setItem(pinned, key);
    outcome.textContent = proved;
  } catch (error) {
    outcome.textContent = "Not proved: " + error.message + ".";
  }
});

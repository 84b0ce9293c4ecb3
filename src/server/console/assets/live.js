// A page that keeps itself up to date while nobody is at work on it. To watch is no use of the sign-in.
import { refresh } from "./console.js";

const OFTEN = 5000;
// What the server calls the content that is shown.
let tag = "";

function isAtWork(part) {
  return document.hidden || part.querySelector("details[open]") || part.contains(document.activeElement);
}

// Why what is shown may be old; nothing while it is not.
function trouble(reply) {
  if (reply?.ok || reply?.status === 304) return "";
  if (reply?.status === 401) return "Not live any more: the sign-in has ended. Load the page again to sign in.";
  return "Not live; trying again. What is shown may be old.";
}

function say(text) {
  let note = document.querySelector("#live");
  if (!note && text) {
    note = document.createElement("p");
    note.id = "live";
    note.className = "note warn";
    note.setAttribute("role", "status");
    document.querySelector("main").prepend(note);
  }
  if (!note || note.textContent === text) return;
  note.textContent = text;
  note.hidden = !text;
}

async function look() {
  const part = document.querySelector("[data-live]");
  if (!part || isAtWork(part) || document.querySelector(".past") || "past" in document.documentElement.dataset) return;
  const reply = await fetch(location.href, { headers: { "x-tenure-live": "1", "if-none-match": tag } }).catch(() => null);
  say(trouble(reply));
  // 304: it has not changed.
  if (!reply?.ok) return;
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (!fresh || isAtWork(part) || "past" in document.documentElement.dataset) return;
  part.replaceWith(document.adoptNode(fresh));
  tag = reply.headers.get("etag") || "";
  refresh(document);
}

setInterval(look, OFTEN);

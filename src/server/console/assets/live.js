// A page that keeps itself up to date while nobody is at work on it. To watch is no use of the sign-in.
import { refresh } from "./console.js";

const OFTEN = 5000;
// What the server calls the content that is shown.
let tag = "";

function isAtWork(part) {
  return document.hidden || part.querySelector("details[open]") || part.contains(document.activeElement);
}

async function look() {
  const part = document.querySelector("[data-live]");
  if (!part || isAtWork(part) || document.querySelector(".past") || "past" in document.documentElement.dataset) return;
  const reply = await fetch(location.href, { headers: { "x-tenure-live": "1", "if-none-match": tag } }).catch(() => null);
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

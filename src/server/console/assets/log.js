// The live tail of the log. What people chose is put in as text, never as markup.
import { localise } from "./console.js";

const events = document.querySelector("#events");
const status = document.querySelector("#live");
const held = document.querySelector("#held");
const waiting = [];

const hiddenCharacters = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const plain = (text) =>
  String(text).replace(hiddenCharacters, (c) => "\u27e8U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u27e9");

function cell(row, text, link) {
  const td = row.insertCell();
  if (link) {
    const a = document.createElement("a");
    a.href = link;
    a.textContent = plain(text);
    td.append(a);
  } else {
    td.textContent = plain(text);
  }
  return td;
}

// Who caused an event. The name of a key or a subject is asked for once; what a name is asked for in vain stays an id.
const names = new Map();

function named(whose, event) {
  if (!names.has(whose)) {
    if (names.size > 200) names.clear();
    names.set(whose, fetch("/console/log/by?position=" + event.position).then((reply) => reply.ok ? reply.json() : null, () => null));
  }
  return names.get(whose);
}

function by(row, event) {
  const { kind, id } = event.actor;
  const td = row.insertCell();
  td.className = "soft";
  const show = ({ name, id, link }) => {
    const code = document.createElement("code");
    code.textContent = plain(id);
    const shown = link ? Object.assign(document.createElement("a"), { href: link }) : code;
    if (link) shown.append(code);
    td.replaceChildren(...(name ? [plain(name) + " "] : []), ...(id ? [shown] : []));
  };
  if (kind === "session" && event.subjectId) {
    const own = { id: event.subjectId, link: "/console/sessions/" + id };
    show({ name: "", ...own });
    named("subject " + event.subjectId, event).then((known) => known?.name && show({ name: known.name, ...own }));
  } else if (kind === "credential") {
    show({ name: "API key", id });
    named("key " + id, event).then((known) => known && show(known));
  } else {
    show({ name: { authority: "the authority", operator: "the operator", link: "the link in notice" }[kind] || kind, id: id || "" });
  }
}

function moment(at) {
  const time = document.createElement("time");
  time.dateTime = at;
  time.title = at.slice(0, 10) + " " + at.slice(11, 19) + " UTC";
  return time;
}

// In one line, its moments in the reader's zone.
function summary(data) {
  const said = Object.entries(data || {}).filter(([name, value]) =>
    name !== "sessionId" && value !== null && value !== false && !(Array.isArray(value) && value.length === 0));
  const words = said.map(([name, value]) =>
    value === true ? name : name + " " + (typeof value === "string" ? value : JSON.stringify(value)));
  const parts = words.join(" · ").split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)/);
  return parts.map((part, index) => index % 2 ? moment(part) : plain(part));
}

function add(event) {
  const row = events.insertRow();
  row.id = "p" + event.position;
  row.className = "new";
  cell(row, event.position, "/console/log?position=" + event.position + "#p" + event.position).className = "number";
  row.insertCell().append(moment(event.recordedAt));
  cell(row, event.kind);
  cell(row, event.subjectId || "", event.subjectId && "/console/subjects/" + encodeURIComponent(event.subjectId));
  const what = row.insertCell();
  what.className = "what";
  if (event.sessionId) {
    const session = Object.assign(document.createElement("a"), { href: "/console/sessions/" + event.sessionId, textContent: "session" });
    what.append(session, " ");
  }
  what.append(...summary(event.data));
  by(row, event);
  localise(row);
  document.querySelector("#none")?.remove();
  while (events.rows.length > 500) events.deleteRow(0);
}

// Whoever has scrolled up is reading: what comes meanwhile is held back and counted.
const isAtEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 80;

function release() {
  for (const event of waiting.splice(0)) add(event);
  held.hidden = true;
  scrollTo(0, document.documentElement.scrollHeight);
}

if (events.dataset.tail) {
  const source = new EventSource(events.dataset.tail);
  source.onopen = () => { status.textContent = "Live: new events appear here."; };
  source.onerror = () => {
    status.textContent = source.readyState === EventSource.CLOSED ? "Not live any more; load the page again." : "Not live; trying again.";
  };
  const take = (message) => {
    const event = JSON.parse(message.data);
    if (isAtEnd() && waiting.length === 0) {
      add(event);
      scrollTo(0, document.documentElement.scrollHeight);
    } else {
      waiting.push(event);
      held.hidden = false;
      held.querySelector("b").textContent = waiting.length;
    }
  };
  source.onmessage = take;
  held.querySelector("button").addEventListener("click", release);
  addEventListener("scroll", () => { if (waiting.length && isAtEnd()) release(); });
}

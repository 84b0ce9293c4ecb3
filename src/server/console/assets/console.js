// Every page: times in the reader's zone, countdowns, and "Let it be". Nothing here is needed to read or to end.

const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
// In tables and lists there is little room; the log is about seconds.
const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const ofThisYear = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
const year = new Date(document.documentElement.dataset.now).getFullYear();

export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    // The page has it in UTC, which stays to be seen on hover.
    time.title ||= time.textContent;
    const isShort = time.closest("table:not(.log), .facts, .cards, figcaption, td.what");
    const form = !isShort ? zone : moment.getFullYear() === year ? ofThisYear : short;
    time.textContent = form.format(moment);
  }
}

function left(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]].map(([size, unit], index, all) => {
    const above = index ? seconds % all[index - 1][0] : seconds;
    return [Math.floor(above / size), unit];
  });
  const first = parts.findIndex(([count]) => count > 0);
  return first < 0 ? "0s" : parts.slice(first, first + 2).map(([count, unit]) => count + unit).join(" ");
}

// The server's clock counts: that of the browser may be another.
const ahead = new Date(document.documentElement.dataset.now) - performance.now();

function count() {
  if (Number.isNaN(ahead)) return;
  for (const counter of document.querySelectorAll("[data-until]")) {
    const seconds = Math.floor((new Date(counter.dataset.until) - ahead - performance.now()) / 1000);
    counter.textContent = left(Math.max(0, seconds));
  }
}

// "Let it be" hides a countdown in this browser. It tells the server nothing.
const hidden = "tenure.let-it-be";
const read = () => JSON.parse(localStorage.getItem(hidden) || "[]");
const keyOf = (element) => element.dataset.veto + " " + (element.querySelector("[data-until]")?.dataset.until || "");

function hideLetBe() {
  const known = read();
  for (const element of document.querySelectorAll("[data-veto]")) {
    if (!known.includes(keyOf(element))) continue;
    const asked = element.querySelector(".ask") || element;
    asked.hidden = true;
    for (const said of document.querySelectorAll("[data-let-be-said]")) said.hidden = false;
  }
}

// By the document, for those that come later too.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-let-it-be]");
  if (!button) return;
  event.preventDefault();
  const element = button.closest("[data-veto]") || document.querySelector("[data-veto]");
  const known = [...read(), keyOf(element)].slice(-200);
  localStorage.setItem(hidden, JSON.stringify(known));
  hideLetBe();
});

// What is to be done with every page, and with every part of one that comes later.
export function refresh(root) {
  for (const button of root.querySelectorAll("[data-let-it-be]")) button.hidden = false;
  localise(root);
  count();
  hideLetBe();
  // On a narrow screen the picture is wider than its place; the newest is at its end.
  for (const picture of root.querySelectorAll(".timeline")) picture.scrollLeft = picture.scrollWidth;
}

refresh(document);
// On a narrow screen the names of the pages are wider than it.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
setInterval(count, 1000);

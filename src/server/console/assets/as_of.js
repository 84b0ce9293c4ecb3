// The slider of "As of": the page as it was at any position of the history, while it is drawn along. The address follows,
// so that a moment can be kept. Without this module the field beside it does the same.
import { refresh } from "./console.js";

const form = document.querySelector(".asof");
const slider = form?.querySelector("#slider");
const field = form?.querySelector("#as-of");
const end = slider ? Number(slider.max) : 0;

function address(position) {
  const asked = new URLSearchParams(new FormData(form));
  if (position === end) asked.delete("asOf");
  else asked.set("asOf", String(position));
  const query = asked.toString();
  return form.getAttribute("action") + (query ? "?" + query : "");
}

let asked = 0;
let running = false;

async function show() {
  if (running) return;
  running = true;
  for (let shown = 0; shown !== asked; ) {
    shown = asked;
    const to = address(shown);
    const { page, wrong } = await pageOf(to);
    if (shown !== asked) continue;
    const then = page?.querySelector("#then");
    const here = document.querySelector("#then");
    if (then) {
      here.replaceWith(document.adoptNode(then));
    } else {
      const said = document.createElement("p");
      said.className = "empty";
      said.textContent = wrong ?? (page?.querySelector("main")?.textContent.trim() || "It could not be read.");
      here.replaceChildren(said);
    }
    banner(page?.querySelector(".past"));
    refresh(document);
    history.replaceState(null, "", to);
  }
  running = false;
}

async function pageOf(address) {
  try {
    const reply = await fetch(address);
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    return { page, wrong: reply.status === 404 ? "There was nothing of it then." : undefined };
  } catch {
    return { wrong: "The server could not be reached. Move the slider to try again." };
  }
}

function banner(past) {
  document.querySelector(".past")?.remove();
  if (past) form.after(document.adoptNode(past));
}

if (slider && end > 1) {
  slider.hidden = false;
  slider.addEventListener("input", () => {
    asked = Number(slider.value);
    field.value = asked === end ? "" : String(asked);
    document.documentElement.dataset.past = "";
    show();
  });
  // At the end of the history the page is live again, with its buttons.
  slider.addEventListener("change", () => {
    if (Number(slider.value) === end) location.assign(address(end));
  });
}

// The dashboard: its frame, its pages, its keys.

import { get } from "./api.js";
import { byId, el, fill, glyph, span } from "./dom.js";
import { eventsPage, followEvents } from "./events.js";
import { fleetPage } from "./fleet.js";
import { incidentsPage } from "./incidents.js";
import { changeFilter, filter, model, WORST } from "./model.js";
import { observersPage } from "./observers.js";
import { unitPage } from "./unit.js";

const PAGES = { fleet: fleetPage, incidents: incidentsPage, agent: unitPage, observers: observersPage, events: eventsPage };
const main = byId("main");
let leave = null;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\//, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  const page = PAGES[name] ? name : "fleet";
  leave?.();
  main.replaceChildren();
  for (const link of byId("nav").children) {
    const here = link.getAttribute("href") === `#/${page}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  leave = PAGES[page](main, rest, new URLSearchParams(query));
  window.scrollTo(0, 0);
}

// -- the strip, the title, the light ---------------------------------------------------------------------------------

const buttons = Object.fromEntries(WORST.map((verdict) => {
  const count = el("span", { class: "count" }, "–");
  const button = el("button", { type: "button", class: verdict, "aria-pressed": "false", onclick: () => {
    const verdicts = new Set(filter.verdicts);
    if (!verdicts.delete(verdict)) verdicts.add(verdict);
    changeFilter({ verdicts });
    if (!location.hash.startsWith("#/fleet") && location.hash !== "") location.hash = "#/fleet";
  } }, glyph(verdict, 18), count, el("span", { class: "name" }, verdict));
  return [verdict, { button, count }];
}));
fill(byId("strip"), WORST.map((verdict) => buttons[verdict].button));

let relay = "";
function frame() {
  for (const verdict of WORST) {
    const number = model.counts[verdict] ?? 0;
    const { button, count } = buttons[verdict];
    count.textContent = number.toLocaleString();
    button.classList.toggle("zero", number === 0);
    button.setAttribute("aria-pressed", String(filter.verdicts.has(verdict)));
  }
  const worst = WORST.find((verdict) => model.counts[verdict] > 0 && !["held", "departed"].includes(verdict)) ?? "up";
  const icon = `/assets/${model.state === "live" ? worst : "unknown"}.svg`;
  if (byId("favicon").getAttribute("href") !== icon) byId("favicon").setAttribute("href", icon);
  const told = worst === "up" ? "all up" : `${model.counts[worst]} ${worst}`;
  document.title = `${model.state === "live" ? told : "not live"} – ${relay || "Varta"}`;
  const open = byId("open");
  open.hidden = model.incidents === 0;
  open.textContent = String(model.incidents);
}

function light() {
  const live = byId("live");
  live.className = `live ${model.state === "live" ? "on" : model.state === "connecting" ? "" : "off"}`;
  live.textContent = model.state === "silent" ? "no word" : model.state;
  const stale = byId("stale");
  const old = model.state === "live" || model.state === "connecting" || model.heard === 0 ? 0 : Date.now() - model.heard;
  stale.hidden = old < 2000 && !(model.state === "reconnecting" && model.heard === 0 && model.problem);
  stale.textContent = model.heard === 0 ? `The relay does not answer: ${model.problem}` : `What you see is ${span(old)} old: the relay is not heard.`;
}

model.addEventListener("change", frame);
model.addEventListener("state", () => {
  frame();
  light();
});
filter.addEventListener("change", frame);
setInterval(light, 500);

// -- search and keys -------------------------------------------------------------------------------------------------

const search = byId("search");
search.addEventListener("input", () => {
  changeFilter({ text: search.value });
  if (!location.hash.startsWith("#/fleet") && location.hash !== "") location.hash = "#/fleet";
});

function move(by) {
  const links = [...main.querySelectorAll(".list a, .card h2 a")];
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  links[Math.min(links.length - 1, Math.max(0, at + by))].focus();
}

let pending = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    if (!document.querySelector("dialog[open]")) {
      search.value = "";
      changeFilter({ text: "", verdicts: new Set() });
    }
    return;
  }
  if (typing) {
    if (event.key === "Enter" && event.target === search) move(1);
    return;
  }
  const going = Date.now() - pending < 1000;
  pending = 0;
  const pages = { f: "fleet", i: "incidents", o: "observers", e: "events" };
  if (going && pages[event.key]) {
    location.hash = `#/${pages[event.key]}`;
  } else if (event.key === "/") {
    event.preventDefault();
    search.focus();
  } else if (event.key === "j" || event.key === "k") {
    move(event.key === "j" ? 1 : -1);
  } else if (event.key === "g") {
    pending = Date.now();
  } else if (event.key === "?") {
    byId("keys").showModal();
  }
});
byId("help").addEventListener("click", () => byId("keys").showModal());

// -- the beginning ---------------------------------------------------------------------------------------------------

window.addEventListener("hashchange", route);
route();
model.follow();
followEvents();
(async () => {
  for (;;) {
    try {
      const fleet = await get("/api/v1/fleet");
      relay = fleet.relay.name;
      byId("relay").textContent = relay;
      byId("relay").title = `version ${fleet.relay.version}`;
      frame();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
})();

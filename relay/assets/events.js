// The event feed: live, to be filtered and to be held.

import { pause, stream } from "./api.js";
import { clock, el, fill, glyph } from "./dom.js";

const KINDS = ["unit", "observer", "incident_opened", "incident_changed", "incident_closed"];
// Most events that are kept.
const KEPT = 500;

const kept = [];
let newest = null;
let listener = null;

// Follows events from the first time on, whatever page is open: who comes back finds what happened.
async function follow() {
  for (;;) {
    try {
      await stream(`/api/v1/events${newest === null ? "" : `?after=${newest}`}`, {
        on: ({ event, data, id }) => {
          if (!KINDS.includes(event)) return;
          newest = id;
          kept.unshift(JSON.parse(data));
          kept.length = Math.min(kept.length, KEPT);
          listener?.();
        },
      });
    } catch {
      // It is tried again.
    }
    await pause(1000 + Math.random() * 2000);
  }
}

export const followEvents = follow;

function words(event) {
  if (event.kind === "unit") {
    const name = event.unit ? `${event.agent} / ${event.unit}` : `${event.agent} · pid ${event.pid}`;
    return [el("b", {}, name), ` ${event.from ?? "new"} → ${event.to ?? "gone"}`, event.why && el("span", { class: "dim" }, ` · ${event.why}`)];
  }
  if (event.kind === "observer") return [el("b", {}, event.observer), ` ${event.to}`, event.why && el("span", { class: "dim" }, ` · ${event.why}`)];
  return [el("a", { href: `#/incidents/${event.incident}` }, event.why)];
}

export function eventsPage(main) {
  const wanted = new Set(KINDS.filter((kind) => kind !== "incident_changed"));
  let held = null;
  let text = "";
  const list = el("ul", { class: "list feed" });
  const hold = el("button", { type: "button", "aria-pressed": "false", onclick: () => {
    held = held ? null : [...kept];
    hold.setAttribute("aria-pressed", String(Boolean(held)));
    show();
  } }, "Hold");
  const find = el("input", { type: "search", placeholder: "Filter", "aria-label": "Filter events", oninput: () => {
    text = find.value.toLowerCase();
    show();
  } });
  const kinds = KINDS.map((kind) => el("button", { type: "button", "aria-pressed": String(wanted.has(kind)), onclick: (event) => {
    if (!wanted.delete(kind)) wanted.add(kind);
    event.target.setAttribute("aria-pressed", String(wanted.has(kind)));
    show();
  } }, kind.replaceAll("_", " ")));
  fill(main, el("div", { class: "head" }, el("h1", {}, "Events")), el("div", { class: "tools" }, kinds, find, hold), el("div", { class: "panel" }, list));

  function show() {
    const fits = (event) => wanted.has(event.kind) && (text === "" || JSON.stringify(event).toLowerCase().includes(text));
    const events = (held ?? kept).filter(fits).slice(0, 200);
    hold.textContent = held ? `Go on (${kept.indexOf(held[0]) > 0 ? kept.indexOf(held[0]) : 0} new)` : "Hold";
    fill(list, events.map((event) => el("li", {}, el("time", { title: new Date(event.at_ms).toString() }, clock(event.at_ms)),
      el("span", {}, glyph(event.kind === "unit" ? event.to ?? "departed" : { incident_opened: "stalled", incident_closed: "up", lost: "stalled" }[event.kind] ?? "unknown", 11), " ", event.kind.replaceAll("_", " ")),
      el("span", { class: "text" }, words(event)))));
    if (events.length === 0) fill(list, el("li", { class: "empty" }, el("strong", {}, "Nothing has happened"), "Events appear here as they come."));
  }

  listener = show;
  show();
  return () => {
    listener = null;
  };
}

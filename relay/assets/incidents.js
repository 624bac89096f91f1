// Incidents: by common cause, with what shows them.

import { get, send } from "./api.js";
import { el, fill, glyph, moment, span, unitLink, unitName } from "./dom.js";
import { model } from "./model.js";

const BY = "varta-by";
const KINDS = {
  observer_lost: "observer lost", observer_blind: "observer blind", site: "whole site", host: "whole host", unit: "one unit",
  disputed: "disputed", missing: "missing",
};

function actions(one, again) {
  if (one.closed_ms) return null;
  const by = el("input", { placeholder: "your name", "aria-label": "Your name", value: localStorage.getItem(BY) ?? "", maxlength: "80" });
  const problem = el("span", { class: "note" });
  const act = async (run) => {
    const name = by.value.trim();
    if (!name) {
      by.focus();
      problem.textContent = "Say who you are.";
      return;
    }
    localStorage.setItem(BY, name);
    try {
      await run(name);
      await again();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const acknowledge = one.acked
    ? el("button", { type: "button", onclick: () => act(() => send("DELETE", `/api/v1/incidents/${one.id}/ack`)) }, "Give back")
    : el("button", { type: "button", class: "main", onclick: () => act((name) => send("POST", `/api/v1/incidents/${one.id}/ack`, { by: name })) }, "Acknowledge");
  const matcher = () => {
    if (["observer_lost", "observer_blind"].includes(one.kind)) return { agent: one.subject, kind: one.kind };
    const agents = new Set(one.members.map((member) => member.agent));
    const units = new Set(one.members.map((member) => member.unit));
    return { agent: agents.size === 1 ? [...agents][0] : "*", unit: units.size === 1 && one.members[0].unit ? [...units][0] : "*", kind: one.kind };
  };
  const silence = one.silenced
    ? el("button", { type: "button", onclick: () => act(() => send("DELETE", `/api/v1/silences/${one.silenced}`)) }, "End the silence")
    : el("button", { type: "button", onclick: () => act((name) => send("POST", "/api/v1/silences", {
      matcher: matcher(), by: name, note: `incident ${one.id}`, for_ms: 3600000 })) }, "Silence for 1 h");
  return el("div", { class: "actions" }, by, acknowledge, silence, problem);
}

const units = (count) => (count === 1 ? "1 unit" : `${count} units`);

function card(one, again) {
  const state = one.closed_ms ? "is-over" : `is-${one.severity}`;
  const lasted = (one.closed_ms ?? model.now()) - one.opened_ms;
  return el("article", { class: `panel card ${state}`, id: `incident-${one.id}` },
    el("header", {}, el("h2", {}, el("a", { href: `#/incidents/${one.id}` }, one.title)), el("span", { class: "tag" }, KINDS[one.kind] ?? one.kind),
      one.acked && el("span", { class: "tag" }, `taken by ${one.acked.by}`), one.silenced && el("span", { class: "tag" }, "silenced")),
    el("div", { class: "meta" }, el("span", {}, `since ${moment(one.opened_ms)}`),
      el("span", {}, one.closed_ms ? `over after ${span(lasted)}` : `open for ${span(lasted)}`),
      el("span", {}, one.closed_ms ? `at most ${units(one.most)}` : `${units(one.count)} now`), el("span", {}, `#${one.id}`)),
    one.evidence.length > 0 && el("ul", { class: "evidence" }, one.evidence.map((line) => el("li", {}, line))),
    one.members.length > 0 && el("div", { class: "chips" }, one.members.slice(0, 24).map((member) =>
      el("a", { class: "chip", href: unitLink(member) }, glyph(member.verdict, 11), unitName(member))),
    one.count > 24 && el("span", { class: "note" }, `and ${one.count - 24} more`)),
    actions(one, again));
}

export function incidentsPage(main, [id]) {
  let state = "open";
  const list = el("div");
  const tabs = el("div", { class: "tools" });
  const quiet = el("div", { class: "panel" });
  fill(main, el("div", { class: "head" }, el("h1", {}, id ? "Incident" : "Incidents")), tabs, list, quiet);

  async function show() {
    // What somebody is typing stays.
    if (list.contains(document.activeElement) && document.activeElement.tagName === "INPUT") return;
    try {
      const incidents = id ? [await get(`/api/v1/incidents/${encodeURIComponent(id)}`)] : (await get(`/api/v1/incidents?state=${state}&limit=100`)).incidents;
      fill(list, incidents.map((one) => card(one, show)));
      if (incidents.length === 0) fill(list, el("div", { class: "panel empty" }, el("strong", {}, state === "open" ? "Nothing is wrong" : "None so far"),
        state === "open" ? "No incident is open." : ""));
      const { silences } = await get("/api/v1/silences");
      quiet.hidden = Boolean(id) || silences.length === 0;
      fill(quiet, el("h2", {}, "Silences"), el("div", { class: "scroll" }, el("table", {}, el("tr", {}, ["agent", "unit", "kind", "by", "note", "ends in", ""].map((name) => el("th", {}, name))),
        silences.map((one) => el("tr", {}, [one.matcher.agent, one.matcher.unit, one.matcher.kind, one.by, one.note, span(one.until_ms - model.now())].map((text) => el("td", {}, text)),
          el("td", {}, el("button", { type: "button", onclick: async () => {
            await send("DELETE", `/api/v1/silences/${one.id}`);
            await show();
          } }, "End")))))));
    } catch (error) {
      fill(list, el("div", { class: "panel empty" }, error.message));
    }
  }

  if (id) fill(tabs, el("a", { href: "#/incidents" }, "All incidents"));
  else {
    fill(tabs, ["open", "closed", "all"].map((name) => el("button", { type: "button", "aria-pressed": String(name === state), onclick: (event) => {
      state = name;
      for (const button of tabs.children) button.setAttribute("aria-pressed", String(button === event.target));
      show();
    } }, name)));
  }
  let seen = model.incidents;
  const onChange = () => {
    if (model.incidents === seen) return;
    seen = model.incidents;
    show();
  };
  model.addEventListener("change", onChange);
  const asks = setInterval(show, 5000);
  show();
  return () => {
    model.removeEventListener("change", onChange);
    clearInterval(asks);
  };
}

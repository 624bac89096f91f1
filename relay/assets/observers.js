// Observers: who looks, since when, how well, and what of which site.

import { get } from "./api.js";
import { badge, el, fill, glyph, span } from "./dom.js";
import { model, WORST } from "./model.js";

function matrix() {
  const sites = new Map();
  for (const unit of model.units.values()) {
    const site = model.label(unit, "site") ?? "";
    if (!sites.has(site)) sites.set(site, new Map());
    for (const number of unit.observers) {
      const cells = sites.get(site);
      if (!cells.has(number)) cells.set(number, { units: 0, worst: WORST.length - 1 });
      const cell = cells.get(number);
      cell.units += 1;
      cell.worst = Math.min(cell.worst, model.rank(unit));
    }
  }
  const names = [...sites.keys()].sort((a, b) => (a === "") - (b === "") || a.localeCompare(b));
  return el("table", { class: "matrix" },
    el("tr", {}, el("th", {}, "site"), model.observers.map((name) => el("th", {}, name))),
    names.map((site) => el("tr", {}, el("th", {}, site || "(none)"), model.observers.map((_, number) => {
      const cell = sites.get(site).get(number);
      return el("td", {}, cell ? el("span", { class: "cell" }, glyph(WORST[cell.worst], 12), String(cell.units)) : el("span", { class: "dim" }, "·"));
    }))));
}

export function observersPage(main) {
  const table = el("div", { class: "scroll" });
  const reach = el("div", { class: "scroll" });
  fill(main, el("div", { class: "stack" }, el("h1", {}, "Observers"), el("div", { class: "panel" }, table),
    el("div", { class: "panel" }, el("h2", {}, "Who sees which site", el("span", { class: "note" }, "units, and the worst of them")), reach)));

  async function show() {
    try {
      const { observers } = await get("/api/v1/observers");
      const rejects = (one) => Object.entries(one.rejects).sort((a, b) => b[1] - a[1]).map(([reason, count]) => `${reason} ${count}`).join(", ");
      fill(table, el("table", {},
        el("tr", {}, ["observer", "state", "for", "site", "units", "stalls", "accepted", "rejects by reason", "blind", "heard", ""].map((head) => el("th", {}, head))),
        observers.map((one) => el("tr", {},
          el("td", {}, el("b", {}, one.name), el("div", { class: "note" }, one.remote, one.version && ` · ${one.version}`)),
          el("td", {}, badge(one.state)), el("td", {}, span(model.now() - one.since_ms)), el("td", {}, one.site ?? "–"),
          el("td", { class: "num" }, String(one.units)), el("td", { class: "num" }, String(one.stalls)),
          el("td", { class: "num" }, one.accepted.toLocaleString()), el("td", { class: "wide" }, rejects(one) || "none"),
          el("td", {}, one.blind ? `${one.blind}${one.critical ? ", for too long" : ""}` : "no", el("div", { class: "note" }, `${span(one.blind_ms)} in all`)),
          el("td", {}, one.lag_ms === null ? "never" : `${span(one.lag_ms)} ago`),
          el("td", {}, one.foreign > 0 && el("span", { class: "tag" }, `${one.foreign} foreign`))))));
      if (observers.length === 0) fill(table, el("div", { class: "empty" }, el("strong", {}, "No observers"), "Add an [[observer]] to relay.toml."));
    } catch (error) {
      fill(table, el("div", { class: "empty" }, error.message));
    }
    fill(reach, matrix());
  }

  const asks = setInterval(show, 2000);
  show();
  return () => clearInterval(asks);
}

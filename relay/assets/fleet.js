// The first page: is anything wrong, is it one thing or many, since when.

import { get } from "./api.js";
import { el, fill, glyph, span, unitLink, unitName } from "./dom.js";
import { Grid } from "./grid.js";
import { filter, matcher, model } from "./model.js";

const GROUP = "varta-group";
// Most units of the list beside the grid.
const LISTED = 200;

const groupName = (unit, by) => {
  if (by === "observer") return unit.observers.map((number) => model.observers[number]).join(" + ");
  if (by === "agent") return unit.agent;
  return model.label(unit, by) ?? "";
};

export function fleetPage(main) {
  let by = localStorage.getItem(GROUP) ?? "site";
  const choice = el("select", { "aria-label": "Group by", onchange: () => {
    by = choice.value;
    localStorage.setItem(GROUP, by);
    rebuild();
  } });
  const shown = el("span", { class: "dim" });
  const host = el("div", { class: "panel grid" });
  const incidents = el("div", { class: "panel" });
  const list = el("ul", { class: "list" });
  const listHead = el("h2", {}, "Not up");
  fill(main,
    el("div", { class: "columns" },
      el("div", {},
        el("div", { class: "tools" }, el("label", { class: "dim" }, "Group by ", choice), el("span", { class: "spread" }, shown)),
        host),
      el("div", { class: "stack" }, incidents, el("div", { class: "panel" }, listHead, list))));
  const grid = new Grid(host);
  const empty = el("div", { class: "empty" });

  function options() {
    const keys = ["", ...new Set(["site", ...model.labelKeys()]), "agent", "observer"];
    const wanted = keys.includes(by) ? by : "";
    const known = [...choice.options].map((option) => option.value).join();
    if (known !== keys.join()) fill(choice, keys.map((key) => el("option", { value: key }, key === "" ? "nothing" : key)));
    choice.value = wanted;
  }

  function rebuild() {
    options();
    const fits = matcher();
    const units = [...model.units.values()].filter(fits);
    const groups = new Map();
    for (const unit of units) {
      const name = by === "" ? "" : groupName(unit, by);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(unit);
    }
    const text = (unit) => `${unit.agent}\u0000${unit.unit}`;
    for (const members of groups.values()) members.sort((a, b) => (text(a) < text(b) ? -1 : 1));
    // Units without the label come last.
    const order = [...groups].sort(([a], [b]) => (a === "") - (b === "") || a.localeCompare(b, [], { numeric: true }));
    grid.show(order);
    empty.remove();
    if (units.length === 0) {
      fill(empty, ...(model.units.size === 0
        ? [el("strong", {}, model.loaded ? "No units yet" : "Asking the relay"),
          model.loaded ? "They appear here as soon as an observer reports them." : ""]
        : [el("strong", {}, "Nothing fits"), "Press Esc to see all units again."]));
      host.append(empty);
    }
    const total = model.units.size;
    shown.textContent = `${units.length === total ? total : `${units.length} of ${total}`} units${model.truncated ? ", and more than can be shown" : ""}`;
    refresh(units);
  }

  function refresh(units) {
    const bad = units.filter((unit) => unit.verdict !== "up" && (filter.verdicts.size > 0 || !["departed", "held"].includes(unit.verdict)));
    bad.sort((a, b) => model.rank(a) - model.rank(b) || b.since - a.since);
    const focused = document.activeElement?.closest(".list") === list ? document.activeElement.getAttribute("href") : null;
    listHead.textContent = bad.length === 0 ? "Everything is up" : `Not up: ${bad.length}`;
    fill(list, bad.slice(0, LISTED).map((unit) => el("li", {}, el("a", { href: unitLink(unit) },
      glyph(unit.verdict), el("span", { class: "what" }, unitName(unit)),
      el("time", {}, unit.since ? span(model.now() - unit.since) : ""),
      el("span", { class: "why" }, unit.flags & 1 ? "disputed: observers disagree" : unit.verdict,
        unit.flags & 4 ? " · acknowledged" : "", unit.flags & 2 ? " · silenced" : "")))));
    if (bad.length === 0) fill(list, el("li", { class: "empty" }, "Nothing needs anybody."));
    if (focused) [...list.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  }

  let open = -1;
  async function askIncidents() {
    try {
      const { incidents: all } = await get("/api/v1/incidents?state=open&limit=20");
      open = model.incidents;
      fill(incidents, el("h2", {}, all.length === 0 ? "No open incidents" : "Open incidents", all.length > 0 && el("a", { href: "#/incidents" }, "all")),
        el("ul", { class: "list" }, all.map((one) => el("li", {}, el("a", { href: `#/incidents/${one.id}` },
          glyph(one.severity === "critical" ? "stalled" : "degraded"), el("span", { class: "what", title: one.title }, one.title),
          el("time", {}, span(model.now() - one.opened_ms)),
          el("span", { class: "why" }, one.acked ? `taken by ${one.acked.by}` : one.evidence[0] ?? ""))))));
    } catch (error) {
      fill(incidents, el("h2", {}, "Incidents"), el("p", { class: "empty" }, error.message));
    }
  }

  const onChange = ({ detail }) => {
    if (detail.structure || filter.verdicts.size > 0) rebuild();
    else {
      refresh([...model.units.values()].filter(matcher()));
      grid.wake();
    }
    if (model.incidents !== open) askIncidents();
  };
  model.addEventListener("change", onChange);
  filter.addEventListener("change", rebuild);
  const ticks = setInterval(() => grid.wake(), 500);
  const asks = setInterval(askIncidents, 10000);
  rebuild();
  askIncidents();
  window.varta = { grid };
  return () => {
    model.removeEventListener("change", onChange);
    filter.removeEventListener("change", rebuild);
    clearInterval(ticks);
    clearInterval(asks);
    grid.close();
  };
}

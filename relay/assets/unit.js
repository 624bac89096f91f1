// One unit: what is said of it, by whom, and what it was.

import { get } from "./api.js";
import { badge, el, fill, moment, span, unitName } from "./dom.js";
import { model } from "./model.js";

const HOUR = 3600000;

function timeline(history, length, name, told) {
  const canvas = el("canvas", { role: "img", "aria-label": `Verdicts over ${name}` });
  const from = model.now() - length;
  const percent = (share) => (share === null || share === undefined ? "–" : `${(share * 100).toFixed(share === 1 ? 0 : 3)} %`);
  const row = el("div", { class: "row" },
    el("div", { class: "label" }, el("span", {}, name), el("span", { class: "dim" }, `up ${percent(told?.uptime)} · seen ${percent(told?.coverage)}`)),
    canvas,
    el("div", { class: "scale" }, el("span", {}, moment(from)), el("span", {}, "now")));
  requestAnimationFrame(() => {
    const style = getComputedStyle(document.documentElement);
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.fillStyle = style.getPropertyValue("--sunken");
    context.fillRect(0, 0, width, height);
    for (const segment of history.segments) {
      const [begin, end] = [Math.max(segment.from_ms, from), segment.to_ms ?? model.now()];
      if (end <= from) continue;
      const x = ((begin - from) / length) * width;
      const wide = Math.max(1, ((end - begin) / length) * width);
      if (segment.verdict === "unseen") continue;
      context.fillStyle = context.strokeStyle = style.getPropertyValue(`--${segment.verdict}`);
      if (segment.verdict !== "unknown") {
        // Height tells what colour does, too: what is well is low.
        const tall = { up: 0.55, departed: 0.2, held: 0.35 }[segment.verdict] ?? 1;
        context.fillRect(x, height * (1 - tall), wide, height * tall);
        continue;
      }
      context.save();
      context.beginPath();
      context.rect(x, 0, wide, height);
      context.clip();
      for (let at = x - height; at < x + wide; at += 5) {
        context.beginPath();
        context.moveTo(at, height);
        context.lineTo(at + height, 0);
        context.stroke();
      }
      context.restore();
    }
  });
  return row;
}

export function unitPage(main, [agent, name], query) {
  const whose = query.get("observer");
  const path = `/api/v1/agents/${encodeURIComponent(agent)}/${encodeURIComponent(name)}${whose ? `?observer=${encodeURIComponent(whose)}` : ""}`;
  let shown = null;
  let asked = 0;
  const margin = el("i");
  const due = el("span", { class: "dim" });

  function tick() {
    const span_ms = shown?.last_beat_age_ms != null && shown.due_in_ms != null ? shown.last_beat_age_ms + shown.due_in_ms : null;
    if (!span_ms || ["departed", "missing"].includes(shown.verdict)) {
      due.textContent = "nothing is due";
      margin.style.width = "0";
      return;
    }
    const left = shown.due_in_ms - (Date.now() - asked);
    margin.className = left < 0 ? "over" : "";
    margin.style.width = `${Math.min(100, Math.max(0, (1 - left / span_ms) * 100))}%`;
    due.textContent = left < 0 ? `overdue by ${span(-left)}` : `${span(left)} until the deadline, ${span(span_ms)} after the beat`;
  }

  async function show() {
    let unit;
    try {
      unit = await get(path);
    } catch (error) {
      shown = null;
      fill(main, el("div", { class: "panel empty" }, el("strong", {}, `${agent} / ${name}`), error.message, el("p", {}, el("a", { href: "#/fleet" }, "To the fleet"))));
      return;
    }
    [shown, asked] = [unit, Date.now()];
    const fact = (term, ...value) => el("div", {}, el("dt", {}, term), el("dd", {}, ...value));
    const history = unit.history;
    fill(main, el("div", { class: "stack" },
      el("div", {},
        el("div", { class: "head" }, el("h1", {}, unitName(unit)), badge(unit.verdict), unit.disputed && el("span", { class: "tag" }, "disputed"),
          unit.incident && el("a", { class: "tag", href: `#/incidents/${unit.incident}` }, `incident #${unit.incident}`)),
        el("p", { class: "dim" }, unit.why)),
      el("div", { class: "panel" }, el("h2", {}, "Now", due), el("div", { class: "time" }, el("div", { class: "margin" }, margin)),
        el("dl", { class: "facts" },
          fact("Since", moment(unit.since_ms), " ", el("span", { class: "dim" }, span(model.now() - unit.since_ms))),
          fact("Last beat", unit.last_beat_age_ms === null ? "none heard" : `${span(unit.last_beat_age_ms)} ago`),
          fact("Status, payload", `${unit.status}, ${unit.payload}`),
          fact("Its own lateness", `${(unit.lag_us / 1000).toFixed(2)} ms`),
          fact("Beats, stalls", `${unit.beats}, ${unit.stalls}`),
          fact("Restarts", String(unit.restarts)),
          fact("Pid", unit.pid === 0 ? "–" : String(unit.pid)),
          fact("Session", unit.session === "0" ? "–" : moment(Number(BigInt(unit.session) / 1000000n))),
          fact("Origin", unit.origin || "–"),
          Object.entries(unit.labels).map(([key, value]) => fact(key, value)))),
      el("div", { class: "panel" }, el("h2", {}, "Timeline"), el("div", { class: "time" }, history
        ? [timeline(history, 24 * HOUR, "24 hours", history.day), timeline(history, 7 * 24 * HOUR, "7 days", history.week)]
        : el("p", { class: "note" }, "This relay keeps no history: it has no relay.state_dir."))),
      el("div", { class: "panel" }, el("h2", {}, "What each observer says"), el("div", { class: "scroll" }, el("table", {},
        el("tr", {}, ["observer", "verdict", "since", "last beat", "due in", "beats", "lateness", "why"].map((head) => el("th", {}, head))),
        unit.views.map((view) => el("tr", {},
          el("td", {}, view.observer, view.state !== "connected" && el("span", { class: "tag" }, view.state)),
          el("td", {}, badge(view.verdict)), el("td", {}, span(model.now() - view.since_ms)),
          el("td", {}, view.last_beat_age_ms === null ? "–" : `${span(view.last_beat_age_ms)} ago`),
          el("td", {}, view.due_in_ms === null ? "–" : view.due_in_ms < 0 ? `–${span(-view.due_in_ms)}` : span(view.due_in_ms)),
          el("td", { class: "num" }, String(view.beats)), el("td", {}, `${(view.lag_us / 1000).toFixed(2)} ms`),
          el("td", { class: "wide" }, view.why || "on time"))))))));
    tick();
  }

  const asks = setInterval(show, 3000);
  const ticks = setInterval(tick, 250);
  let seen = null;
  const onChange = () => {
    const known = [...model.units.values()].find((unit) => unit.agent === agent && (unit.unit === name || `pid:${unit.pid}` === name));
    const now = known ? `${known.verdict} ${known.flags}` : "";
    if (seen !== null && now !== seen) show();
    seen = now;
  };
  model.addEventListener("change", onChange);
  show();
  return () => {
    clearInterval(asks);
    clearInterval(ticks);
    model.removeEventListener("change", onChange);
  };
}

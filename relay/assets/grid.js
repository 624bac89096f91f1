// The grid: one tile for each unit, drawn on a canvas as large as the window and no larger.

import { byId, el, fill, span, unitLink, unitName } from "./dom.js";
import { model, VERDICTS } from "./model.js";

const SIZES = [26, 20, 16, 13, 10, 8];
const PAD = 14;
const HEAD = 26;
// A tile whose newest beat is at its deadline is this bright.
const DIM = 0.45;

export class Grid {
  constructor(host) {
    this.host = host;
    this.canvas = el("canvas", { role: "img", "aria-label": "One tile for each unit; the list beside has those that are not up" });
    this.layer = el("div", { class: "layer" });
    this.host.append(this.canvas, this.layer);
    this.context = this.canvas.getContext("2d");
    this.groups = [];
    this.hover = null;
    this.#colours();
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(host);
    this.abort = new AbortController();
    const on = (target, kind, run) => target.addEventListener(kind, run, { signal: this.abort.signal, passive: true });
    on(window, "scroll", () => this.wake());
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => {
      this.#colours();
      this.wake();
    });
    on(this.canvas, "pointermove", (event) => this.#point(event));
    on(this.canvas, "pointerleave", () => this.#leave());
    on(this.canvas, "click", (event) => {
      const unit = this.at(event.clientX, event.clientY);
      if (unit) location.hash = unitLink(unit);
    });
  }

  close() {
    this.observer.disconnect();
    this.abort.abort();
    this.#leave();
    this.closed = true;
  }

  #colours() {
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(VERDICTS.map((verdict) => [verdict, style.getPropertyValue(`--${verdict}`).trim()]));
    this.ink = style.getPropertyValue("--ink").trim();
    this.ground = style.getPropertyValue("--panel").trim();
  }

  // Shows these units, by group: [name, units].
  show(groups) {
    this.groups = groups.map(([name, units]) => ({ name, units }));
    this.count = this.groups.reduce((sum, group) => sum + group.units.length, 0);
    this.layout();
  }

  layout() {
    this.width = this.host.clientWidth;
    if (this.width === 0) return;
    const inner = this.width - 2 * PAD;
    const heads = this.groups.length > 1 || this.groups[0]?.name ? HEAD : 0;
    const place = (size) => {
      const gap = size > 12 ? 3 : size > 9 ? 2 : 1;
      const step = size + gap;
      const across = Math.max(1, Math.floor((inner + gap) / step));
      let top = PAD;
      for (const group of this.groups) {
        group.top = top + heads;
        group.rows = Math.ceil(group.units.length / across);
        top = group.top + group.rows * step + (heads ? 14 : PAD);
      }
      return { size, step, across, height: top };
    };
    // The largest tiles that leave the whole in sight; if none do, the smallest.
    const room = Math.max(360, window.innerHeight - 240);
    this.plan = SIZES.map(place).find((plan) => plan.height <= room) ?? place(SIZES.at(-1));
    place(this.plan.size);
    this.host.style.height = `${Math.max(120, Math.ceil(this.plan.height))}px`;
    const ratio = window.devicePixelRatio || 1;
    const height = Math.min(this.plan.height, window.innerHeight);
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    this.ratio = ratio;
    fill(this.layer, heads === 0 ? [] : this.groups.map((group) => {
      const head = el("div", { class: "group" }, el("b", {}, group.name || "(none)"), `${group.units.length}`);
      head.style.top = `${group.top - HEAD + 4}px`;
      return head;
    }));
    this.wake();
  }

  wake() {
    if (this.waking || this.closed) return;
    this.waking = true;
    requestAnimationFrame(() => {
      this.waking = false;
      if (!this.closed) this.draw();
    });
  }

  // How far the canvas stands below the top of the grid: it stays in sight while the page scrolls.
  #offset() {
    return this.canvas.getBoundingClientRect().top - this.host.getBoundingClientRect().top - this.host.clientTop;
  }

  draw() {
    if (!this.plan) return;
    const started = performance.now();
    const { context, plan } = this;
    const offset = this.#offset();
    const bottom = offset + this.canvas.height / this.ratio;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.canvas.height / this.ratio);
    context.translate(0, -offset);
    const now = model.now();
    for (const group of this.groups) {
      const first = Math.max(0, Math.floor((offset - group.top) / plan.step));
      const last = Math.min(group.rows, Math.ceil((bottom - group.top) / plan.step));
      for (let place = first * plan.across; place < Math.min(last * plan.across, group.units.length); place += 1) {
        const x = PAD + (place % plan.across) * plan.step;
        const y = group.top + Math.floor(place / plan.across) * plan.step;
        this.#tile(group.units[place], x, y, plan.size, now);
      }
    }
    context.globalAlpha = 1;
    this.drawn = performance.now() - started;
  }

  #tile(unit, x, y, size, now) {
    const { context } = this;
    const verdict = unit.verdict;
    let bright = 1;
    if (unit.heard && unit.span && (verdict === "up" || verdict === "degraded")) {
      bright = 1 - (1 - DIM) * Math.min(1, Math.max(0, (now - unit.heard) / unit.span));
    }
    context.globalAlpha = unit.flags & 2 ? bright * 0.5 : bright;
    context.fillStyle = context.strokeStyle = this.colours[verdict];
    const half = size / 2;
    context.lineWidth = Math.max(1, size / 9);
    switch (verdict) {
      case "up":
        context.fillRect(x, y, size, size);
        break;
      case "degraded":
        context.beginPath();
        context.moveTo(x + half, y);
        context.lineTo(x + size, y + size);
        context.lineTo(x, y + size);
        context.fill();
        break;
      case "critical":
        context.beginPath();
        context.moveTo(x + half, y - 1);
        context.lineTo(x + size + 1, y + half);
        context.lineTo(x + half, y + size + 1);
        context.lineTo(x - 1, y + half);
        context.fill();
        break;
      case "stalled":
        context.fillRect(x - 1, y - 1, size + 2, size + 2);
        context.strokeStyle = this.ground;
        context.lineWidth = Math.max(1.2, size / 7);
        context.beginPath();
        context.moveTo(x + size * 0.25, y + size * 0.25);
        context.lineTo(x + size * 0.75, y + size * 0.75);
        context.moveTo(x + size * 0.75, y + size * 0.25);
        context.lineTo(x + size * 0.25, y + size * 0.75);
        context.stroke();
        break;
      case "unknown":
        context.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
        context.beginPath();
        for (let at = size / 3; at < 2 * size; at += Math.max(3, size / 3)) {
          context.moveTo(x + Math.max(0, at - size), y + Math.min(size, at));
          context.lineTo(x + Math.min(size, at), y + Math.max(0, at - size));
        }
        context.stroke();
        break;
      case "held":
        context.fillRect(x + size * 0.15, y, size * 0.25, size);
        context.fillRect(x + size * 0.6, y, size * 0.25, size);
        break;
      case "missing":
        context.beginPath();
        context.setLineDash([Math.max(1.5, size / 6), Math.max(1.5, size / 7)]);
        context.arc(x + half, y + half, half - 0.5, 0, 7);
        context.stroke();
        context.setLineDash([]);
        break;
      default:
        context.strokeRect(x + 1, y + 1, size - 2, size - 2);
    }
    if (unit === this.hover) {
      context.globalAlpha = 1;
      context.strokeStyle = this.ink;
      context.lineWidth = 1.5;
      context.strokeRect(x - 2, y - 2, size + 4, size + 4);
    }
  }

  at(clientX, clientY) {
    if (!this.plan) return null;
    const box = this.canvas.getBoundingClientRect();
    const x = clientX - box.left - PAD;
    const y = clientY - box.top + this.#offset();
    const column = Math.floor(x / this.plan.step);
    if (x < 0 || column >= this.plan.across) return null;
    for (const group of this.groups) {
      const row = Math.floor((y - group.top) / this.plan.step);
      if (row >= 0 && row < group.rows) return group.units[row * this.plan.across + column] ?? null;
    }
    return null;
  }

  #point(event) {
    const unit = this.at(event.clientX, event.clientY);
    const tip = byId("tip");
    if (unit !== this.hover) {
      this.hover = unit;
      this.canvas.style.cursor = unit ? "pointer" : "";
      this.wake();
    }
    tip.hidden = !unit;
    if (!unit) return;
    const labels = Object.entries(model.labels[unit.labels] ?? {}).map(([key, value]) => `${key}=${value}`).join("  ");
    const since = `${unit.verdict}${unit.since ? ` for ${span(model.now() - unit.since)}` : ""}`;
    const beat = unit.heard ? `last beat ${span(model.now() - unit.heard)} ago` : "not heard";
    const seen = unit.observers.map((number) => model.observers[number]).join(", ");
    fill(tip, el("b", {}, unitName(unit)), el("div", {}, since, unit.flags & 1 ? " · disputed" : ""),
      el("div", { class: "dim" }, beat, seen ? ` · ${seen}` : ""), labels && el("div", { class: "dim mono" }, labels));
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(event.clientX + 14, window.innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + box.height + 24 > window.innerHeight ? event.clientY - box.height - 12 : event.clientY + 16}px`;
  }

  #leave() {
    byId("tip").hidden = true;
    if (this.hover) {
      this.hover = null;
      this.wake();
    }
  }
}

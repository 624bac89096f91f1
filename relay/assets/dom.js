// Elements, made of data only: whatever a sender supplied becomes text, never markup.

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

const SVG = "http://www.w3.org/2000/svg";

// One shape for each verdict, so that none is told by its colour alone.
const SHAPES = {
  up: [["rect", { x: 2, y: 2, width: 12, height: 12, rx: 2, fill: "currentColor" }]],
  degraded: [["path", { d: "M8 1.5 15 14H1z", fill: "currentColor" }]],
  critical: [["path", { d: "M8 .8 15.2 8 8 15.2.8 8z", fill: "currentColor" }]],
  stalled: [["path", { d: "M3 3l10 10M13 3 3 13", stroke: "currentColor", "stroke-width": 3.2, "stroke-linecap": "round" }]],
  departed: [["rect", { x: 2.8, y: 2.8, width: 10.4, height: 10.4, rx: 2, fill: "none", stroke: "currentColor", "stroke-width": 1.6 }]],
  held: [["path", { d: "M4.8 2.5v11M11.2 2.5v11", stroke: "currentColor", "stroke-width": 3, "stroke-linecap": "round" }]],
  missing: [["circle", { cx: 8, cy: 8, r: 5.6, fill: "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-dasharray": "2.6 2.2" }]],
  unknown: [
    ["rect", { x: 2, y: 2, width: 12, height: 12, rx: 2, fill: "none", stroke: "currentColor", "stroke-width": 1.4 }],
    ["path", { d: "M3 9 9 3M3 13.5 13.5 3M7 13.5l6.5-6.5", stroke: "currentColor", "stroke-width": 1.4 }],
  ],
};
SHAPES.connected = SHAPES.up;
SHAPES.lost = SHAPES.stalled;
SHAPES.never = SHAPES.missing;

export function glyph(verdict, size = 14) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("width", size);
  svg.setAttribute("height", size);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `glyph ${verdict}`);
  for (const [tag, attributes] of SHAPES[verdict] ?? SHAPES.unknown) {
    const shape = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    svg.append(shape);
  }
  return svg;
}

export function badge(verdict) {
  return el("span", { class: `verdict ${verdict}` }, glyph(verdict), verdict);
}

// A duration as a person reads it.
export function span(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
export const moment = (ms) => new Date(ms).toLocaleString([], { hour12: false });

// The page of a unit.
export function unitLink(unit) {
  const name = unit.unit === "" ? `pid:${unit.pid}` : unit.unit;
  const whose = unit.observer ? `?observer=${encodeURIComponent(unit.observer)}` : "";
  return `#/agent/${encodeURIComponent(unit.agent)}/${encodeURIComponent(name)}${whose}`;
}

export function unitName(unit) {
  return unit.unit === "" ? `${unit.agent} · pid ${unit.pid}` : `${unit.agent} / ${unit.unit}`;
}

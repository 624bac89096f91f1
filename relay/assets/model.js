// The fleet as this page knows it: one grid, and the deltas after it.

import { get, pause, stream } from "./api.js";

export const VERDICTS = ["up", "degraded", "critical", "stalled", "departed", "held", "missing", "unknown"];
// The worst first.
export const WORST = ["stalled", "critical", "missing", "unknown", "degraded", "held", "departed", "up"];
const RANK = Object.fromEntries(WORST.map((verdict, rank) => [verdict, rank]));
// Silence on the stream for so long means that what is shown may be old; the relay says something every two seconds.
const SILENCE_MS = 5000;

class Model extends EventTarget {
  units = new Map();
  labels = {};
  observers = [];
  counts = {};
  incidents = 0;
  truncated = false;
  state = "connecting";
  heard = 0;
  loaded = false;
  // The relay's clock less this one's.
  skew = 0;
  version = 0;

  now() {
    return Date.now() + this.skew;
  }

  rank(unit) {
    return RANK[unit.verdict];
  }

  label(unit, key) {
    return this.labels[unit.labels]?.[key];
  }

  labelKeys() {
    const keys = new Set();
    for (const set of Object.values(this.labels)) for (const key of Object.keys(set)) keys.add(key);
    return [...keys].sort();
  }

  #row(row) {
    const [key, agent, unit, pid, verdict, since, heard, span, observers, labels, flags] = row;
    const known = this.units.get(key);
    const fresh = { key, agent, unit, pid, verdict: VERDICTS[verdict], since, heard, span, observers, labels, flags };
    if (agent === "local" || agent.startsWith("udp~")) fresh.observer = this.observers[observers[0]];
    this.units.set(key, known ? Object.assign(known, fresh) : fresh);
  }

  #head(body) {
    this.observers = body.observers;
    Object.assign(this.labels, body.labels);
    this.counts = body.counts;
    this.incidents = body.incidents;
    this.truncated = body.truncated;
    this.skew = body.now_ms - Date.now();
  }

  #told(structure) {
    this.version += 1;
    this.dispatchEvent(new CustomEvent("change", { detail: { structure } }));
  }

  #alive() {
    this.heard = Date.now();
    this.#become("live");
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #apply(delta) {
    let structure = delta.gone.length > 0;
    const before = this.units.size;
    this.#head(delta);
    for (const row of delta.rows) {
      const known = this.units.get(row[0]);
      structure ||= !known || known.labels !== row[9] || known.agent !== row[1];
      this.#row(row);
    }
    for (const [key, heard, span] of delta.touch) {
      const unit = this.units.get(key);
      if (unit) Object.assign(unit, { heard, span });
    }
    for (const key of delta.gone) this.units.delete(key);
    this.#told(structure || this.units.size !== before);
  }

  // Follows the fleet for ever.
  async follow() {
    setInterval(() => {
      if (this.heard && Date.now() - this.heard > SILENCE_MS) this.#become("silent");
    }, 500);
    for (let wait = 200; ; wait = Math.min(wait * 2, 10000)) {
      try {
        const grid = await get("/api/v1/grid");
        this.units.clear();
        this.labels = {};
        this.#head(grid);
        for (const row of grid.rows) this.#row(row);
        this.loaded = true;
        this.#alive();
        this.#told(true);
        let [epoch, seq] = [grid.epoch, grid.seq];
        let reset = false;
        while (!reset) {
          await stream(`/api/v1/live?epoch=${encodeURIComponent(epoch)}&since=${seq}`, {
            alive: () => this.#alive(),
            on: ({ event, data }) => {
              if (event === "reset") reset = true;
              else if (event === "delta") {
                const delta = JSON.parse(data);
                [epoch, seq] = [delta.epoch, delta.seq];
                this.#apply(delta);
                wait = 200;
              }
            },
          });
          if (!reset) {
            this.#become("reconnecting");
            await pause(300 + Math.random() * 700);
          }
        }
      } catch (error) {
        this.#become("reconnecting");
        this.problem = error.message;
        await pause(wait / 2 + Math.random() * wait / 2);
      }
    }
  }
}

export const model = new Model();

// What is asked for by the strip and the search field.
export const filter = Object.assign(new EventTarget(), { verdicts: new Set(), text: "" });

export function changeFilter(change) {
  Object.assign(filter, change);
  filter.dispatchEvent(new Event("change"));
}

// A test for units: words in any order, key=value for labels.
export function matcher() {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const pairs = words.filter((word) => word.includes("=")).map((word) => word.split("=", 2));
  const texts = words.filter((word) => !word.includes("="));
  return (unit) => {
    if (filter.verdicts.size > 0 && !filter.verdicts.has(unit.verdict)) return false;
    const labels = model.labels[unit.labels] ?? {};
    if (!pairs.every(([key, value]) => (labels[key] ?? "").toLowerCase().startsWith(value))) return false;
    if (texts.length === 0) return true;
    const all = `${unit.agent} ${unit.unit} ${unit.pid} ${Object.values(labels).join(" ")}`.toLowerCase();
    return texts.every((text) => all.includes(text));
  };
}

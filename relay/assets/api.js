// Asking the relay. A token, where it wants one, goes with every request; streams are read by fetch, which can carry it.

import { byId } from "./dom.js";

const KEY = "varta-token";
let asking = null;

function headers(more = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

// Asks whoever looks for the token; all requests that want one wait for the same answer.
function login(wrong) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("login");
    if (wrong) byId("login-note").textContent = "That is not the relay's token.";
    dialog.addEventListener("close", () => {
      const token = byId("token").value.trim();
      byId("token").value = "";
      if (token) sessionStorage.setItem(KEY, token);
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export async function request(path, options = {}) {
  for (;;) {
    const had = sessionStorage.getItem(KEY);
    const answer = await fetch(path, { ...options, headers: headers(options.headers), cache: "no-store" });
    if (answer.status !== 401) return answer;
    if (sessionStorage.getItem(KEY) === had) await login(Boolean(had));
  }
}

export async function get(path) {
  const answer = await request(path);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `the relay answers ${answer.status}`);
  return body;
}

export async function send(method, path, body) {
  const answer = await request(path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body ? JSON.stringify(body) : undefined,
  });
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error ?? `the relay answers ${answer.status}`);
  }
}

// Reads a stream of server-sent events. `on` gets each event; `alive` is called for whatever comes, also for comments.
export async function stream(path, { on, alive, signal }) {
  const answer = await request(path, { signal, headers: { Accept: "text/event-stream" } });
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error ?? `the relay answers ${answer.status}`);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive?.();
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const event = { event: "message", data: "", id: null };
      for (const line of rest.slice(0, end).split("\n")) {
        const colon = line.indexOf(":");
        if (colon <= 0) continue;
        const [field, text] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
        if (field === "data") event.data += text;
        else if (field in event) event[field] = text;
      }
      rest = rest.slice(end + 2);
      if (event.data) on(event);
    }
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

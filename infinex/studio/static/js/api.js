// Talking to the studio's server.

import { t } from "./words.js";
import { tell } from "./state.js";

export class Refused extends Error {}

async function said(response) {
  try {
    const body = await response.json();
    if (typeof body.detail === "string") return body;
  } catch { /* no JSON: the status says it */ }
  return { detail: t("error.status", { status: response.status }) };
}

export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell("silent");
    throw new Refused(t("error.silent"));
  }
  if (!response.ok) {
    const body = await said(response);
    throw Object.assign(new Refused(body.detail), { status: response.status, body });
  }
  return response;
}

export const json = async (path, options) => (await ask(path, options)).json();

const withBody = (method) => (path, body, options = {}) =>
  json(path, body instanceof FormData
    ? { method, body, ...options }
    : { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}), ...options });
export const post = withBody("POST");
export const newKey = () => crypto.randomUUID?.() ?? `${Math.random()}${Math.random()}`; // the former on this machine and under TLS alone
export const put = withBody("PUT");
export const patch = withBody("PATCH");
export const remove = (path) => ask(path, { method: "DELETE" });

// Post a form with a real bar: `sent(share)` is told how much has left. Ends the sending where `signal` is aborted.
export function send(path, form, sent = () => {}, signal = null) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.upload.onprogress = (e) => { if (e.lengthComputable) sent(e.loaded / e.total); };
    request.onload = () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* said by the status */ }
      if (request.status < 300) done(body);
      else failed(Object.assign(new Refused(body.detail ?? t("error.status", { status: request.status })), { status: request.status }));
    };
    request.onerror = () => { tell("silent"); failed(new Refused(t("error.silent"))); };
    request.onabort = () => failed(new DOMException("", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

export function formOf(fields) {
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || value === null || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one instanceof File) form.append(key, one, one.name);
      else form.append(key, one);
    }
  }
  return form;
}

// A socket that says `first` once it is open; `told(message)` hears its words, `shown(bytes)` gets its pictures.
export function socket(path, first, told, shown) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const it = new WebSocket(`${scheme}://${location.host}${path}`);
  it.binaryType = "arraybuffer";
  it.onopen = () => it.send(JSON.stringify(first));
  it.onmessage = ({ data }) => (typeof data === "string" ? told(JSON.parse(data)) : shown(data));
  return it;
}

const ENDED = ["done", "failed", "cancelled", "interrupted"];
export const ended = (animation) => ENDED.includes(animation.state);

// Follow an animation by its stream; `show(animation)` is called with every news. Returns the last state.
export async function follow(animation, show, stopped = () => false) {
  show(animation);
  while (!ended(animation) && !stopped()) {
    await new Promise((go) => {
      const stream = new EventSource(`/v1/animations/${animation.id}/events`);
      const leave = () => { stream.close(); go(); };
      stream.addEventListener("state", (e) => {
        animation = JSON.parse(e.data);
        show(animation);
        if (ended(animation) || stopped()) leave();
      });
      stream.onerror = () => { stream.close(); setTimeout(go, 1500); };
    });
    if (!ended(animation) && !stopped()) animation = await json(`/v1/animations/${animation.id}`).catch((e) => { if (e.status) throw e; return animation; });
  }
  return animation;
}

export const cancel = (id) => ask(`/v1/animations/${id}`, { method: "DELETE" });

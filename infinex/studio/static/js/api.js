// Talking to the studio's server.

export class Refused extends Error {}

async function said(response) {
  try {
    const body = await response.json();
    if (typeof body.detail === "string") return body.detail;
  } catch { /* no JSON: the status says it */ }
  return `That did not work (${response.status}).`;
}

export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Refused("The studio does not answer. Is it still running?");
  }
  if (!response.ok) throw new Refused(await said(response));
  return response;
}

export const json = async (path, options) => (await ask(path, options)).json();

export const post = (path, body) =>
  json(path, body instanceof FormData
    ? { method: "POST", body }
    : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });

// A socket that says `first` once it is open; `told(message)` hears its words, `shown(bytes)` gets its pictures.
export function socket(path, first, told, shown) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const it = new WebSocket(`${scheme}://${location.host}${path}`);
  it.binaryType = "arraybuffer";
  it.onopen = () => it.send(JSON.stringify(first));
  it.onmessage = ({ data }) => (typeof data === "string" ? told(JSON.parse(data)) : shown(data));
  return it;
}

const pause = (ms) => new Promise((go) => setTimeout(go, ms));

// Hand a job in and follow it; `show(animation)` is called with every news. Returns the last state.
export async function follow(animation, show, stopped = () => false) {
  let wait = 250;
  while (["queued", "running"].includes(animation.state) && !stopped()) {
    show(animation);
    await pause(wait);
    wait = Math.min(1000, wait * 1.15);
    try {
      animation = await json(`/v1/animations/${animation.id}`);
    } catch (error) {
      if (String(error.message).startsWith("The studio does not answer")) { await pause(1500); continue; }
      throw error;
    }
  }
  show(animation);
  return animation;
}

export const cancel = (id) => json(`/v1/animations/${id}`, { method: "DELETE" });

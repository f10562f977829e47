// The visitor's own performances and voices: handed in once with a bar that is true, kept in the studio, used by layers.

import { formOf, json, patch, post, remove, send } from "./api.js";
import { keep, kept } from "./kept.js";
import { shared, on, tell } from "./state.js";
import { $, icon, make, refill, sayError, toast } from "./ui.js";
import { number, t } from "./words.js";

export let performances = [];
export const asset = (id) => performances.find((p) => p.id === id);

// Hand a file in. The bar stands in `place`, with a button that stops the sending. Null where it was stopped or refused.
export async function handIn(file, name, place) {
  if (file.size > shared.offer.limits.upload) { toast(t("error.large", { most: shared.offer.limits.upload >> 20 })); return null; }
  const stop = new AbortController();
  const bar = make("progress", { max: 1, value: 0, "aria-label": t("upload.bar", { name }) });
  const words = make("span", { text: t("upload.sending", { name }) });
  place.replaceChildren(make("div", { class: "sending" }, words, bar, make("button", { class: "button small", text: t("cancel"), onclick: () => stop.abort() })));
  try {
    const found = await send("/v1/performances", formOf({ file, name }), (share) => {
      bar.value = share;
      if (share >= 1) { bar.removeAttribute("value"); words.textContent = t("upload.looking", { name }); }
    }, stop.signal);
    keep(`asset ${found.id}`, file);
    await list();
    return found;
  } catch (error) {
    if (error.name !== "AbortError") place.replaceChildren(make("p", { class: "error", role: "alert", text: error.message }));
    return null;
  } finally {
    place.querySelector(".sending")?.remove();
  }
}

export async function list() {
  try { performances = await json("/v1/performances"); } catch { return; }
  tell("performances");
}

// What layers use and the studio has lost, handed in again from this browser: a map from old ids to new ones.
export async function handAgain(ids) {
  const found = new Map();
  await list();
  for (const id of new Set(ids)) {
    const file = id && !asset(id) && await kept(`asset ${id}`);
    if (!file) continue;
    try {
      const again = await post("/v1/performances", formOf({ file, name: file.name.replace(/\.[^.]+$/, "") }));
      keep(`asset ${again.id}`, file);
      found.set(id, again.id);
    } catch (error) { sayError(error); }
  }
  if (found.size) await list();
  return found;
}

export const isSound = (p) => p.kind === "sound";

// The list of what is kept here; `use(performance)` is called with what somebody picks.
export function show(place, use) {
  refill(place, performances.length ? performances.map((p) => {
    const title = make("button", { class: "own-name", onclick: () => use(p) }, icon(isSound(p) ? "sound" : "drive"), make("span", { text: p.name }), make("small", { text: p.seconds ? `${number(p.seconds, 1)} s` : "" }));
    const name = async () => {
      const wanted = prompt(t("own.name"), p.name)?.trim();
      if (wanted) { await patch(`/v1/performances/${p.id}`, { name: wanted }).catch(sayError); list(); }
    };
    return make("li", {}, title, make("button", { class: "icon", "aria-label": t("own.rename", { name: p.name }), onclick: name }, icon("pen")),
      make("button", { class: "icon", "aria-label": t("own.remove", { name: p.name }), onclick: async () => { await remove(`/v1/performances/${p.id}`).catch(sayError); list(); } }, icon("bin")));
  }) : [make("li", { class: "hint", text: t("own.none") })], $("#tab-own"));
}

export function begin() {
  list();
  on("back", list);
}


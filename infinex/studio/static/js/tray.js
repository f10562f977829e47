// All work of this visitor, in every section: waiting, in the making, done. It comes from the studio, so a reload keeps it.

import { cancel, ended, json, patch, post } from "./api.js";
import { downloads, present, resultUrl, share, stateOf } from "./exporting.js";
import { shared, on, tell } from "./state.js";
import { $, make, refill, sayError } from "./ui.js";
import { t } from "./words.js";

const AGAIN = 4000; // ms until a broken stream is opened anew
let jobs = new Map(); // id -> animation
let stream = null;
let renaming = null; // id of the one whose name is being written
let known = "";

export function begin() {
  $("#tray-open").addEventListener("click", () => show($("#tray").hidden));
  $("#tray-close").addEventListener("click", () => show(false));
  document.addEventListener("keydown", (e) => { if (e.key === "Escape" && !$("#tray").hidden && !renaming) show(false); });
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
  on("jobs", look);
  on("back", () => { leave(); listen(); });
  listen();
}

function show(open) {
  $("#tray").hidden = !open;
  $("#tray-open").setAttribute("aria-expanded", open);
  if (open) { draw(); $("#tray-close").focus(); } else { renaming = null; $("#tray-open").focus(); }
}

function leave() {
  stream?.close();
  stream = null;
}

async function listen() {
  if (stream || document.hidden) return;
  const mine = (stream = new EventSource("/v1/events"));
  mine.addEventListener("state", (e) => { const a = JSON.parse(e.data); jobs.set(a.id, a); draw(); });
  mine.addEventListener("gone", (e) => { jobs.delete(JSON.parse(e.data).id); draw(); });
  mine.onerror = () => {
    if (mine !== stream) return;
    leave();
    tell("silent");
    setTimeout(listen, AGAIN);
  };
  await look();
}

async function look() {
  try { jobs = new Map((await json("/v1/animations")).map((a) => [a.id, a])); } catch { return; }
  draw();
}

const order = () => [...jobs.values()].sort((a, b) => (b.created ?? 0) - (a.created ?? 0));

function draw() {
  const busy = order().filter((a) => !ended(a)).length;
  $("#tray-count").textContent = busy || "";
  $("#tray-open").setAttribute("aria-label", busy ? t("tray.busy", { n: busy }) : t("tray"));
  if ($("#tray").hidden || renaming) return;
  const now = JSON.stringify(order());
  if (now === known) return;
  known = now;
  const focused = document.activeElement?.dataset?.key;
  $("#tray-none").hidden = jobs.size > 0;
  refill($("#tray-list"), order().map(row), $("#tray-close"));
  if (focused) $(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

const titleOf = (a) => a.label || a.name || t("tray.unnamed");

function lookAt(a) {
  if (!shared.portrait) { open(resultUrl(a), "_blank", "noopener"); return; }
  if (!["drive", "express"].includes(shared.view)) location.hash = "#drive";
  show(false);
  setTimeout(() => present(a, { sound: true }), 0);
}

function row(a) {
  const over = ended(a), name = titleOf(a);
  const button = (key, label, act, style = "ghost") => make("button", { class: `button small ${style}`, text: t(key), "aria-label": `${t(key)}: ${label}`, "data-key": `${a.id}-${key}`, onclick: act });
  const title = a.state === "done" ? make("button", { class: "link", text: name, "data-key": `${a.id}-open`, "aria-label": t("tray.show", { name }), onclick: () => lookAt(a) }) : make("span", { text: name });
  const gone = async () => { await cancel(a.id).catch(sayError); look(); };
  const tools = make("div", { class: "row" });
  if (a.state === "done") {
    const group = make("div", { class: "row", role: "group", "aria-label": `${t("download")}: ${name}` }, ...downloads(a));
    tools.append(group, button("share", name, () => share(a)));
  }
  const together = a.batch ? order().filter((o) => o.batch === a.batch) : [];
  if (together.every(ended) && together.find((o) => o.state === "done") === a) { // once for all of them
    tools.prepend(make("a", { class: "button small", href: `/v1/batches/${a.batch}/result`, download: "", "data-key": `${a.id}-zip` }, t("batch.zip")));
  }
  if (a.state === "interrupted") tools.append(button("tray.again", name, async () => { await post(`/v1/animations/${a.id}/again`).catch(sayError); look(); }, ""));
  tools.append(button("rename", name, () => rename(a, item)), button(over ? "remove" : "stop", name, gone));
  const words = make("p", { class: a.state === "failed" ? "error" : "hint", text: stateOf(a) });
  const picture = a.state === "done" ? make("img", { class: "thumb", src: `/v1/animations/${a.id}/thumb`, alt: "", loading: "lazy" })
    : make("span", { class: "thumb" }, a.state === "running" ? make("span", { class: "spinner", "aria-hidden": "true" }) : null);
  const bar = a.state === "running" ? make("progress", { max: 1, value: a.progress, "aria-label": t("job.progress") }) : null;
  const item = make("li", {}, picture, make("div", { class: "about" }, title, words, bar, tools));
  return item;
}

function rename(a, item) {
  renaming = a.id;
  const input = make("input", { type: "text", maxlength: 80, value: titleOf(a), "aria-label": t("tray.name") });
  const end = async (keep) => {
    if (renaming !== a.id) return;
    renaming = null;
    known = "";
    const label = input.value.trim();
    if (keep && label !== a.label) await patch(`/v1/animations/${a.id}`, { label }).catch(sayError);
    await look();
    $(`[data-key="${a.id}-rename"]`)?.focus();
  };
  input.addEventListener("keydown", (e) => {
    if (e.key === "Enter") end(true);
    if (e.key === "Escape") { e.stopPropagation(); end(false); }
  });
  input.addEventListener("blur", () => end(true));
  item.querySelector(".about").firstChild.replaceWith(input);
  input.select();
}

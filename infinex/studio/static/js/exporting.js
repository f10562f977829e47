// Making the video: how it is exported, following it, the result on the stage, and sharing it.

import * as drive from "./drive.js";
import { cancel, ended, follow, formOf, newKey, post, Refused } from "./api.js";
import { shared, on, tell } from "./state.js";
import { $, $$, able, icon, make, refill, sayError, time, toast } from "./ui.js";
import { named, number, percent, t } from "./words.js";
import { change, documentOf, project, work } from "./project.js";
import { picture as qr } from "./qr.js";
import * as assets from "./assets.js";
import * as player from "./player.js";
import * as timeline from "./timeline.js";
import * as view from "./view.js";

const COLOURS = ["keep", "none", "#ffffff", "#808080", "#000000", "green"];
const RATES = ["", "12", "24", "25", "30", "50", "60"];
const SIZES = ["", "512", "1024", "1920", "3840"];

export const resultUrl = (a, format) => `/v1/animations/${a.id}/result${format ? `?format=${format}` : ""}`;

// -- choices ----------------------------------------------------------------------------------------------

// What a film cannot be is not asked of one.
const film = () => Boolean(shared.portrait?.seconds);
const OF_STILLS = ["crop", "background", "open_eyes", "absolute", "panel"];

const chosen = () => ({
  portrait: shared.portrait.id, face: work.page.all && shared.portrait.faces.length > 1 ? "all" : String(shared.face), layers: JSON.stringify(documentOf()),
  ...work.export, engine: work.page.engine, mouth: work.page.mouth, wrinkles: work.page.wrinkles, label: project.name.slice(0, 80),
  ...Object.fromEntries(["open_eyes", "absolute", "mark", "panel"].filter((k) => work.page[k]).map((k) => [k, "true"])),
});

const fields = () => Object.fromEntries(Object.entries(chosen()).filter(([k]) => !film() || !OF_STILLS.includes(k)));

const can = () => Boolean(shared.portrait && work.layers.some((l) => !l.off));

function fill(id, values, words, place, name) {
  const select = $(id);
  select.replaceChildren(...values.map((v) => make("option", { value: v, text: words(v) })));
  select.addEventListener("change", () => change((w) => { w[place][name] = select.value; }));
}

function show() {
  $("#export-format").value = work.export.format;
  $("#export-background").value = work.export.background;
  $("#export-fps").value = work.export.fps;
  $("#export-size").value = work.export.size;
  $("#engine").value = work.page.engine;
  $("#mouth").value = work.page.mouth;
  for (const [id, value] of [["#folds", work.page.wrinkles === "driver"], ["#wake", work.page.open_eyes], ["#exact", work.page.absolute], ["#mark", work.page.mark], ["#panel", work.page.panel], ["#all-faces", work.page.all]]) $(id).checked = value;
  for (const radio of $$('[name="crop"]')) radio.checked = radio.value === work.export.crop;
  const format = shared.offer.formats.find((f) => f.name === work.export.format);
  $("#export-alpha").textContent = work.export.background === "none" && !format?.alpha ? t("export.noalpha", { format: format?.label ?? work.export.format }) : format?.alpha && work.export.background === "keep" ? t("export.alpha") : "";
  $("#all-faces-row").hidden = (shared.portrait?.faces.length ?? 1) < 2;
  for (const node of [$("#export-crops"), $("#export-background-row"), ...$$(".still-only")]) node.hidden = film();
  $("#export-film").hidden = $("#film-hint").hidden = !film();
  const length = player.clock.duration;
  $("#export-facts").textContent = length ? t("export.facts", { seconds: number(length, 1) }) : "";
  for (const id of ["#make", "#export-make"]) able($(id), can());
}

export function begin() {
  const { offer } = shared;
  fill("#export-format", offer.formats.map((f) => f.name), (v) => named("format", v, offer.formats.find((f) => f.name === v).label), "export", "format");
  fill("#export-background", COLOURS, (v) => t(`background.${v}`), "export", "background");
  fill("#export-fps", RATES, (v) => (v ? t("export.rate", { rate: v }) : t("export.rate.own")), "export", "fps");
  fill("#export-size", SIZES, (v) => (v ? t("export.pixels", { pixels: v }) : t("export.size.own")), "export", "size");
  fill("#engine", offer.engines.map((e) => e.name), (v) => (v === "mesh" ? t("engine.mesh") : named("engine", v, offer.engines.find((e) => e.name === v).label)), "page", "engine");
  $("#engine-row").hidden = offer.engines.length < 2;
  fill("#mouth", ["auto", "driver", "own"], (v) => t(`mouth.${v}`), "page", "mouth");
  for (const crop of offer.crops) {
    const radio = make("input", { type: "radio", name: "crop", value: crop });
    radio.addEventListener("change", () => change((w) => { w.export.crop = crop; }));
    $("#crops").append(make("label", { class: `crop c${crop.replace(":", "x")}` }, radio, make("i"), make("span", { text: crop === "keep" ? t("crop.keep") : crop })));
  }
  const box = (id, name, yes = true, no = false) => $(id).addEventListener("change", (e) => change((w) => { w.page[name] = e.target.checked ? yes : no; }));
  box("#folds", "wrinkles", "driver", "none");
  box("#wake", "open_eyes");
  box("#exact", "absolute");
  box("#mark", "mark");
  box("#panel", "panel");
  box("#all-faces", "all");
  const dialog = $("#export");
  $("#export-open").addEventListener("click", () => { show(); dialog.showModal(); });
  for (const close of $$("dialog [data-close]")) close.addEventListener("click", () => close.closest("dialog").close());
  $("#make").addEventListener("click", run);
  $("#export-make").addEventListener("click", () => { dialog.close(); run(); });
  $("#batch-open").addEventListener("click", batch);
  on("work", show);
  on("scene", show);
  on("portrait", () => { $("#job").replaceChildren(); said(""); show(); });
  on("view", (name) => { $("#job").hidden = !["express", "drive"].includes(name); });
  show();
}

// -- making -----------------------------------------------------------------------------------------------

const words = (a) => {
  if (a.state === "queued") return a.position > 1 ? t("job.before", { n: a.position - 1 }) : t("job.next");
  if (a.state === "running") return t(a.progress > 0 ? "job.running" : "job.looking");
  return t(`job.${a.state}`);
};
export const stateOf = (a) => {
  if (a.state === "running") return `${percent(a.progress)}${a.seconds_left === null || a.seconds_left === undefined ? "" : `, ${t("job.left", { time: time(a.seconds_left) })}`}`;
  if (a.state === "done") return a.result ? `${number(a.result.duration, 1)} s, ${a.result.width} × ${a.result.height}` : "";
  return a.state === "failed" ? a.message ?? words(a) : words(a);
};

// Stop one, and take it off the list.
async function forget(id) {
  for (let i = 0; i < 2; i++) await cancel(id).catch(() => {});
}

// What is told of a job beside the stage, and what a screen reader says of it.
const lay = (node) => refill($("#job"), [node], $("#make"));
const said = (text) => { $("#job-said").textContent = text; };

async function run() {
  const place = $("#job");
  const bar = make("progress", { max: 1, "aria-label": t("job.progress") });
  const text = make("span", { text: t("job.sending") });
  const left = make("span");
  const stop = make("button", { class: "button small", text: t("cancel") });
  lay(make("div", { class: "progress", role: "group", "aria-label": t("job.making") }, make("div", { class: "words" }, text, left), bar, stop));
  said(t("job.sending"));
  place.scrollIntoView({ block: "center", behavior: "smooth" });
  player.pause();
  able($("#make"), false);
  let id = null, wanted = true;
  stop.addEventListener("click", async () => {
    wanted = false;
    if (id) await forget(id);
    able($("#make"), can());
    lay(make("p", { class: "hint", role: "status", text: t("job.stopped") }));
    said("");
    tell("jobs");
  });
  try {
    const driver = beside();
    let animation = await post("/v1/animations", formOf(fields()), { headers: { "Idempotency-Key": newKey() } });
    id = animation.id;
    if (!wanted) { await forget(id); return; }
    tell("jobs");
    animation = await follow(animation, (a) => {
      if (!wanted) return;
      if (a.state === "running") bar.value = a.progress; else bar.removeAttribute("value");
      text.textContent = words(a);
      left.textContent = a.state === "running" ? stateOf(a) : "";
    }, () => !wanted);
    if (!wanted || !ended(animation)) return;
    if (animation.state !== "done") throw new Refused(animation.message || t("job.failed"));
    present(animation, { sound: true, beside: driver });
  } catch (error) {
    if (wanted) lay(make("p", { class: "error", role: "alert", text: error.message }));
  } finally {
    able($("#make"), can());
    tell("jobs");
  }
}

// What stands small in the corner: the clip of the lowest layer that has one.
function beside() {
  const l = work.layers.find((one) => one.kind === "performance" && !one.off && assets.asset(one.asset)?.kind === "clip");
  return l ? { url: `/v1/performances/${l.asset}/file`, from: l.start ?? 0, at: timeline.place(l).from, speed: l.speed ?? 1 } : null;
}

// -- the result -------------------------------------------------------------------------------------------

export function present(animation, { sound = false, beside: driver = null } = {}) {
  if (!animation.result) return;
  const { format, captions } = animation.result;
  lay(card(animation));
  said(`${t("job.done")}: ${facts(animation.result)}`);
  const shown = format !== "png" && !(format === "mov" && clear(animation)); // by a browser
  if (!shown) { view.dismiss(); return; }
  const inPage = ["mp4", "webm", "gif", "apng"].includes(format) ? undefined : "mp4"; // what no browser shows is made into what all do
  view.present({ url: resultUrl(animation, inPage), format: inPage ?? format, captions: captions ? resultUrl(animation, "vtt") : null, loop: !sound, name: animation.label }, { sound, beside: driver });
}

const facts = (result) => [`${result.width} × ${result.height}`, `${number(result.duration, 1)} s`, `${number(result.fps, 0)} fps`].join(" · ");

function card(animation) {
  const { result } = animation;
  const row = make("div", { class: "row" }, ...downloads(animation));
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", t("download"));
  return make("div", { class: "made", role: "group", "aria-label": t("result") },
    make("h2", { text: t("job.done") }), make("p", { class: "hint", text: facts(result) }), row,
    make("div", { class: "row" },
      make("button", { class: "button small", text: t("share"), onclick: () => share(animation) }),
      make("button", { class: "button small ghost", text: t("result.reuse"), onclick: () => drive.fromAnimation(animation.id, animation.label || animation.name) }),
      make("button", { class: "button small ghost", text: t("result.back"), onclick: () => timeline.refresh() })),
    ...result.warnings.map((w) => make("p", { class: "hint", text: w })));
}

// Whether it is transparent, which its name says; such a one is not made into another kind.
const clear = (animation) => /(^|-)transparent(-|$)/.test(animation.name ?? "");

export function downloads(animation) {
  const own = animation.result?.format;
  const wanted = [...new Set([own, ...(own === "png" || clear(animation) ? [] : ["mp4", "gif"]), "motion", ...(animation.result?.captions ? ["vtt"] : [])])].filter(Boolean);
  return wanted.map((f) => make("a", { class: "button small", href: resultUrl(animation, f), download: "", text: t(`download.${f}`), "data-key": `${animation.id}-${f}` }));
}

// A QR code and a link to a result, for a phone beside this machine.
export async function share(animation) {
  let path;
  try { ({ path } = await post(`/v1/animations/${animation.id}/share`)); } catch (error) { sayError(error); return; }
  showLink(new URL(path, shared.offer.join ?? location.href).href, t("share.title"), t("share.hint"));
}

export function showLink(url, title, hint) {
  const dialog = $("#link");
  const input = make("input", { type: "text", readonly: true, value: url, "aria-label": t("share.link") });
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(new URL(url).hostname);
  const copy = make("button", { class: "button small", text: t("share.copy"), onclick: async () => {
    try { await navigator.clipboard.writeText(url); toast(t("share.copied")); } catch { input.select(); }
  } });
  $("#link-title").textContent = title;
  $("#link-body").replaceChildren(make("p", { class: "hint", text: hint }), qr(url, t("share.qr", { url })), make("div", { class: "row" }, input, copy),
    ...(here ? [make("p", { class: "hint", text: t("share.here") })] : []));
  if (!dialog.open) dialog.showModal();
}

// -- many portraits by one performance -----------------------------------------------------------------------

async function batch() {
  let portraits;
  try { portraits = await (await fetch("/v1/portraits")).json(); } catch (error) { sayError(error); return; }
  const boxes = portraits.map((p) => make("input", { type: "checkbox", value: p.id, checked: p.id === shared.portrait.id }));
  const files = make("input", { type: "file", accept: "image/*", multiple: true, id: "batch-files", class: "hidden-input" });
  const names = make("span", { class: "hint", role: "status" });
  files.addEventListener("change", () => { names.textContent = [...files.files].map((f) => f.name).join(", "); });
  const state = make("p", { class: "hint", role: "status" });
  const go = make("button", { class: "button primary", text: t("batch.make"), onclick: async () => {
    const ids = boxes.filter((b) => b.checked).map((b) => b.value);
    if (!ids.length && !files.files.length) { state.textContent = t("batch.none"); return; }
    able(go, false);
    const { portrait: _, face: __, ...rest } = fields();
    const { layers, ...scene } = documentOf(); // other portraits have other faces
    rest.layers = JSON.stringify({ ...scene, layers: layers.map(({ face: _own, ...l }) => l) });
    try {
      const label = project.name === shared.portrait.name ? null : rest.label; // else all would have one person's name
      let found = await post("/v1/batches", formOf({ ...rest, label, portraits: ids.join(","), sources: [...files.files] }));
      tell("jobs");
      while (["queued", "running"].includes(found.state) && $("#link").open) {
        state.textContent = `${t("job.running")} ${percent(found.progress)}`;
        await new Promise((r) => setTimeout(r, 1500));
        found = await (await fetch(`/v1/batches/${found.id}`)).json();
      }
      state.textContent = t(`job.${found.state}`);
      if (found.state === "done") state.after(make("a", { class: "button", href: `/v1/batches/${found.id}/result`, download: "" }, icon("down"), t("batch.zip")));
    } catch (error) { state.textContent = error.message; }
    able(go, true);
  } });
  $("#export").close();
  $("#link-title").textContent = t("batch.title");
  $("#link-body").replaceChildren(make("p", { class: "hint", text: t("batch.hint") }),
    make("div", { class: "gallery" }, ...portraits.map((p, i) => make("label", {}, boxes[i], make("img", { src: `/v1/portraits/${p.id}/image?side=128`, alt: "" }), make("span", { text: p.name || t("project.unnamed") })))),
    make("div", { class: "row picking" }, make("label", { class: "button small" }, files, make("span", { text: t("batch.files") })), names),
    make("div", { class: "row" }, go), state);
  $("#link").showModal();
}

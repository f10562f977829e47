// Choosing a portrait and a face in it; the visitor's own portraits and projects.

import { formOf, json, patch, post, put, remove, send } from "./api.js";
import { forget, keep, kept } from "./kept.js";
import { shared, tell, on } from "./state.js";
import { $, camera, drops, icon, make, refill, sayError, stopTracks, toast } from "./ui.js";
import { region, t } from "./words.js";
import * as assets from "./assets.js";
import * as timeline from "./timeline.js";
import * as work from "./project.js";
import { busyWith } from "./stage.js";
import { whole } from "./view.js";

let stream = null;

export function begin() {
  for (const example of shared.offer.examples) {
    $("#examples").append(make("button", { class: "example", title: example.credit, "aria-label": t("example", { name: example.label }),
      onclick: () => take(() => post(`/studio/examples/${example.name}`), example.label, null, `/static/examples/${example.name}.jpg`) },
    make("img", { src: `/static/examples/${example.name}.jpg`, alt: "", width: 132, height: 148 }), example.label));
  }
  $("#file").addEventListener("change", (e) => { if (e.target.files[0]) upload(e.target.files[0]); e.target.value = ""; });
  drops($("#drop"), upload);
  document.addEventListener("dragover", (e) => e.preventDefault());
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    const file = e.dataTransfer.files[0];
    if (/^(image|video)\//.test(file?.type ?? "") && (file.type.startsWith("image/") || shared.view === "portrait")) upload(file);
  });
  document.addEventListener("paste", (e) => {
    const item = [...(e.clipboardData?.items ?? [])].find((i) => i.type.startsWith("image/"));
    if (item) { e.preventDefault(); upload(item.getAsFile()); }
  });
  marking();
  $("#use-camera").addEventListener("click", shoot);
  $("#shoot-stop").addEventListener("click", stopShooting);
  $("#shoot-take").addEventListener("click", takePicture);
  $("#pick-face").addEventListener("click", () => showFaces(true));
  $("#project-file").addEventListener("change", (e) => { if (e.target.files[0]) bringIn(e.target.files[0]); e.target.value = ""; });
  on("view", (name) => { if (name !== "portrait") stopShooting(); else libraries(); });
  on("saved", () => { if (shared.view === "portrait") libraries(); });
  on("back", handAgain);
  on("face", work.keepHere);
  on("project", () => { $("#project-name").value = work.project.name; });
  $("#project-name").addEventListener("change", (e) => work.rename(e.target.value.trim()));
}

const plain = (name) => name.replace(/\.[^.]+$/, "").replace(/[_]+/g, " ").trim() || name;

export function upload(file) {
  if (file.size > shared.offer.limits.upload) { toast(t("error.large", { most: shared.offer.limits.upload >> 20 })); return; }
  const bar = $("#drop-bar"), stop = new AbortController(), button = $("#drop-cancel");
  const form = formOf({ picture: file.name ? file : new File([file], "pasted.png", { type: file.type }), name: plain(file.name || t("portrait.pasted")) });
  bar.hidden = button.hidden = false;
  button.onclick = () => stop.abort();
  const sent = (share) => { if (share < 1) bar.value = share; else bar.removeAttribute("value"); };
  take(() => send("/v1/portraits", form, sent, stop.signal).finally(() => { bar.hidden = button.hidden = true; }), file.name, file);
}

// -- marking a face that was not found ------------------------------------------------------------------

let box = [0.3, 0.2, 0.4, 0.5]; // x, y, width, height in shares of the picture
let marked = null;

function showBox() {
  const [x, y, w, h] = box.map((v) => `${100 * v}%`);
  Object.assign($("#mark-box").style, { left: x, top: y, width: w, height: h });
}

function mark(file) {
  marked = file;
  const image = $("#mark-image");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  $("#marking").hidden = false;
  showBox();
  $("#mark-frame").focus();
}

function marking() {
  const frame = $("#mark-frame");
  let from = null;
  const at = (e) => {
    const r = frame.getBoundingClientRect();
    return [Math.min(1, Math.max(0, (e.clientX - r.left) / r.width)), Math.min(1, Math.max(0, (e.clientY - r.top) / r.height))];
  };
  frame.addEventListener("pointerdown", (e) => { frame.setPointerCapture(e.pointerId); from = at(e); });
  frame.addEventListener("pointermove", (e) => {
    if (!from) return;
    const to = at(e);
    box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    showBox();
  });
  frame.addEventListener("pointerup", () => { from = null; });
  frame.addEventListener("keydown", (e) => {
    const step = { ArrowRight: [0.02, 0], ArrowLeft: [-0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[e.key];
    if (!step) return;
    e.preventDefault();
    const first = e.shiftKey ? 2 : 0;
    for (const i of [0, 1]) box[first + i] = Math.min(1, Math.max(first ? 0.05 : 0, box[first + i] + step[i]));
    showBox();
  });
  $("#mark-cancel").addEventListener("click", () => { $("#marking").hidden = true; });
  $("#mark-use").addEventListener("click", () => {
    const { naturalWidth: w, naturalHeight: h } = $("#mark-image");
    const form = new FormData();
    form.append("picture", marked, marked.name || "marked.png");
    form.append("box", [box[0] * w, box[1] * h, box[2] * w, box[3] * h].map((v) => v.toFixed(1)).join(","));
    take(() => post("/v1/portraits", form), marked.name, marked);
  });
}

// -- what was worked on before ------------------------------------------------------------------------------

// Show a portrait that the studio has, and a project on it.
async function use(portrait, project) {
  shared.portrait = portrait;
  shared.face = Math.min(project?.page?.face ?? portrait.largest, portrait.faces.length);
  tell("portrait");
  if (project) {
    work.show(project);
    timeline.select(work.work.layers.findLast((l) => !timeline.keyed(l))?.uid ?? null); // its text, or what it is made of, is seen at once
  } else work.begin(portrait.name || t("project.unnamed"));
  showFaces(false);
}

// The work of before the page was loaded again.
export async function again() {
  const found = await work.remembered();
  if (!found?.portrait) return;
  try {
    const portrait = await json(`/v1/portraits/${found.portrait}`).catch(async (error) => {
      const file = error.status === 404 && await kept(`portrait ${found.portrait}`);
      if (!file) throw error;
      return handIn(file);
    });
    await use(portrait, found);
    await performancesAgain();
    if (found.unsaved || portrait.id !== found.portrait) work.unsaved();
  } catch { /* neither the studio nor the browser has it any more */ }
}

async function handIn(file) {
  const portrait = await post("/v1/portraits", formOf({ picture: file, name: plain(file.name) }));
  keep(`portrait ${portrait.id}`, file);
  return portrait;
}

// The studio was away, perhaps started `anew`: what it has lost is handed in again.
async function handAgain(anew) {
  if (!shared.portrait) return;
  try {
    await json(`/v1/portraits/${shared.portrait.id}`);
    if (!anew) return;
  } catch (error) {
    const file = error.status === 404 && await kept(`portrait ${shared.portrait.id}`);
    if (!file) return;
    try {
      const portrait = await handIn(file);
      shared.portrait = { ...portrait, name: shared.portrait.name };
      work.unsaved();
    } catch (failed) { sayError(failed); return; }
  }
  await performancesAgain();
  tell("work");
}

async function performancesAgain() {
  const ids = await assets.handAgain(work.work.layers.map((l) => l.asset));
  if (ids.size) work.change((w) => { for (const l of w.layers) l.asset = ids.get(l.asset) ?? l.asset; });
}

async function openProject(id) {
  try {
    await work.flush();
    const project = await json(`/v1/projects/${id}`);
    if (!project.portrait) { toast(t("project.lost")); return; }
    await use(await json(`/v1/portraits/${project.portrait}`), project);
    location.hash = project.layers ? "#drive" : "#express";
  } catch (error) { sayError(error); }
}

async function bringIn(file) {
  try {
    const project = await send("/v1/projects/file", formOf({ file }));
    await openProject(project.id);
  } catch (error) { sayError(error); }
}

const shelf = (id, items) => {
  $(id).hidden = !items.length;
  refill($(`${id} ul`), items, $("#file"));
};
const tool = (name, label, act) => make("button", { class: "icon", "aria-label": label, title: label, onclick: act }, icon(name));
const day = (seconds) => new Intl.DateTimeFormat(region, { dateStyle: "short", timeStyle: "short" }).format(1000 * seconds);
const picture = (portrait) => make("img", { src: portrait ? `/v1/portraits/${portrait}/image?side=256` : "/static/icon.svg", alt: "", loading: "lazy" });

async function libraries() {
  let projects, portraits;
  try { [projects, portraits] = await Promise.all([json("/v1/projects"), json("/v1/portraits")]); } catch { return; }
  shelf("#projects", projects.map((p) => make("li", {},
    make("button", { class: "tile", onclick: () => openProject(p.id) }, picture(p.portrait), make("span", {}, make("b", { text: p.name || t("project.unnamed") }), make("small", { text: day(p.changed) }))),
    make("div", { class: "tools" },
      tool("pen", t("own.rename", { name: p.name }), async () => {
        const name = prompt(t("own.name"), p.name)?.trim();
        if (!name) return;
        if (p.id === work.project.id) { work.rename(name); await work.flush(); } else {
          try {
            const { id, revision, portrait, layers, export: out, page } = await json(`/v1/projects/${p.id}`);
            await put(`/v1/projects/${id}`, { revision, name, portrait, layers, export: out, page });
          } catch (error) { sayError(error); }
        }
        libraries();
      }),
      make("a", { class: "icon", href: `/v1/projects/${p.id}/file`, download: "", "aria-label": t("project.export", { name: p.name }), title: t("project.export", { name: p.name }) }, icon("down")),
      tool("bin", t("own.remove", { name: p.name }), async () => {
        if (!confirm(t("project.remove.sure", { name: p.name }))) return;
        await remove(`/v1/projects/${p.id}`).catch(sayError);
        libraries();
      })))));
  shelf("#portraits", portraits.map((p) => make("li", {},
    make("button", { class: "tile", onclick: async () => { await work.flush(); await use(p, null); location.hash = "#express"; } }, picture(p.id), make("span", {}, make("b", { text: p.name || t("project.unnamed") }))),
    make("div", { class: "tools" },
      tool("pen", t("own.rename", { name: p.name }), async () => {
        const name = prompt(t("own.name"), p.name)?.trim();
        if (name) await patch(`/v1/portraits/${p.id}`, { name }).catch(sayError);
        libraries();
      }),
      tool("bin", t("own.remove", { name: p.name }), async () => { await remove(`/v1/portraits/${p.id}`).catch(sayError); forget(`portrait ${p.id}`); libraries(); })))));
}

async function take(request, name, file = null, url = null) {
  const drop = $("#drop");
  drop.setAttribute("aria-busy", "true");
  document.body.classList.add("waiting");
  const words = $(".drop-words");
  words.textContent = t("portrait.looking");
  try {
    const portrait = await request();
    if (file) keep(`portrait ${portrait.id}`, file);
    else if (url) fetch(url).then((r) => r.blob()).then((b) => keep(`portrait ${portrait.id}`, new File([b], `${name}.jpg`, { type: b.type })));
    stopShooting();
    $("#marking").hidden = true;
    await work.flush();
    shared.portrait = { ...portrait, name: plain(portrait.name || name || "") };
    shared.face = portrait.largest;
    tell("portrait");
    work.begin(shared.portrait.name);
    location.hash = "#express";
    showFaces(portrait.faces.length > 1);
  } catch (error) {
    if (error.name === "AbortError") return;
    sayError(error);
    if (file && /^no face found/i.test(error.message)) mark(file);
  } finally {
    words.textContent = t("portrait.drop");
    drop.removeAttribute("aria-busy");
    document.body.classList.remove("waiting");
  }
}

function showFaces(open) {
  const svg = $("#faces");
  const many = shared.portrait.faces.length > 1;
  $("#pick-face").hidden = !many;
  svg.replaceChildren();
  svg.toggleAttribute("hidden", !(open && many));
  if (svg.hasAttribute("hidden")) return;
  busyWith("");
  whole();
  toast(t("faces.pick"));
  for (const face of shared.portrait.faces) {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    shape.setAttribute("points", face.outline.map((p) => p.join(",")).join(" "));
    shape.setAttribute("role", "button");
    shape.setAttribute("tabindex", "0");
    shape.setAttribute("aria-label", t("faces.one", { number: face.number, all: shared.portrait.faces.length }));
    shape.setAttribute("aria-pressed", face.number === shared.face);
    const pick = () => {
      shared.face = face.number;
      svg.setAttribute("hidden", "");
      tell("face");
    };
    shape.addEventListener("click", pick);
    shape.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); pick(); } });
    svg.append(shape);
  }
}

async function shoot() {
  try {
    stream = await camera({ video: { width: { ideal: 1280 }, height: { ideal: 960 }, facingMode: "user" } });
  } catch (error) { sayError(error); return; }
  const video = $("#shoot-video");
  video.srcObject = stream;
  await video.play();
  $("#shoot").hidden = false;
  $("#shoot-take").focus();
}

function stopShooting() {
  stopTracks(stream);
  stream = null;
  $("#shoot").hidden = true;
}

function takePicture() {
  const video = $("#shoot-video");
  const picture = document.createElement("canvas");
  picture.width = video.videoWidth;
  picture.height = video.videoHeight;
  picture.getContext("2d").drawImage(video, 0, 0);
  picture.toBlob((blob) => upload(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.95);
}

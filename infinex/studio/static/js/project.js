// The work on one portrait: layers, how it is exported, undo and redo; kept in this browser and in the studio.

import { json, newKey, put, Refused } from "./api.js";
import { shared, on, tell } from "./state.js";
import { toast } from "./ui.js";
import { t } from "./words.js";

const STEPS = 200; // that can be undone
const HERE = 300, THERE = 1500; // ms after a change until it is kept in the browser, in the studio
const LATER = 4000; // ms after a refusal until the studio is asked again
const MERGED = 700; // ms in which changes of one control are one step
const EXPORT = { format: "mp4", crop: "keep", background: "keep", fps: "", size: "" };
const PAGE = { engine: "mesh", mouth: "auto", wrinkles: "driver", open_eyes: false, absolute: false, mark: false, panel: false, face: 1, all: false };
const fresh = () => ({ layers: [], duration: null, export: { ...EXPORT }, page: { ...PAGE } });

export let work = fresh();
export const project = { id: null, revision: 0, name: "" };
let past = [], future = [];
let last = { key: null, at: 0 };
let count = 0;
let saving = null, here = 0, there = 0, dirty = false;
let first = null; // a first save that was not answered yet: sent again under its key and word for word, it makes no second project

export const uid = () => `l${Date.now().toString(36)}${(count++).toString(36)}`;

// -- changes ----------------------------------------------------------------------------------------------

// Change the work by `how(work)`; changes with one `key` that follow each other soon are one step back.
export function change(how, key = null) {
  const before = JSON.stringify(work);
  how(work);
  const now = JSON.stringify(work);
  if (now === before) return;
  const time = performance.now();
  if (!(key && key === last.key && time - last.at < MERGED)) past.push(before);
  if (past.length > STEPS) past.shift();
  last = { key, at: time };
  future = [];
  changed();
}

function changed() {
  keep();
  tell("work");
}

function step(from, to) {
  if (!from.length) return;
  to.push(JSON.stringify(work));
  work = JSON.parse(from.pop());
  last = { key: null, at: 0 };
  changed();
}
export const undo = () => step(past, future);
export const redo = () => step(future, past);
export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

export const layer = (id) => work.layers.find((l) => l.uid === id);

// The document as the studio reads it; `extra` is a layer that only the preview has.
export function documentOf(extra = null) {
  const bare = ({ uid: _, ...rest }) => Object.fromEntries(Object.entries(rest).filter(([, v]) => v !== undefined && v !== null && v !== ""));
  const layers = [...work.layers.map(bare), ...(extra ? [extra] : [])];
  return { version: 1, ...(work.duration ? { duration: work.duration } : {}), layers };
}

// -- keeping ----------------------------------------------------------------------------------------------

const body = () => ({ name: project.name, portrait: shared.portrait?.id ?? null, layers: work.layers.length ? documentOf() : null, export: work.export, page: { ...work.page, face: shared.face, duration: work.duration } });

function keep() {
  dirty = true;
  clearTimeout(here);
  clearTimeout(there);
  here = setTimeout(keepHere, HERE);
  there = setTimeout(keepThere, THERE);
}

export function keepHere() {
  try {
    localStorage.setItem("work", JSON.stringify({ id: project.id, revision: project.revision, dirty, first, ...body() }));
  } catch { /* a browser that keeps nothing; the studio does */ }
}

async function keepThere() {
  if (saving || !dirty || !shared.portrait) return;
  let wait = THERE;
  if (!first) dirty = false; // else it stays so: what is sent again is older
  if (!project.id && !first) {
    first = { key: newKey(), text: JSON.stringify(body()) };
    keepHere();
  }
  saving = project.id ? put(`/v1/projects/${project.id}`, { revision: project.revision, ...body() })
    : json("/v1/projects", { method: "POST", headers: { "Content-Type": "application/json", "Idempotency-Key": first.key }, body: first.text });
  try {
    const kept = await saving;
    [project.id, project.revision] = [kept.id, first ? 1 : kept.revision]; // 1: what another window has saved since is not written over
    first = null;
    tell("saved");
  } catch (error) {
    dirty = true;
    if (error.status) first = null; // nothing was made of it
    if (error.body?.project) { // another window has changed it: both are kept
      project.id = null;
      project.name = t("project.copy", { name: project.name });
      toast(t("project.elsewhere", { name: project.name }));
      tell("project");
      wait = 50;
    } else if (error.status === 404 && project.id) { // the studio has lost it
      project.id = null;
      wait = 50;
    } else {
      if (!(error instanceof Refused) || error.status) toast(error.message ?? t("error.unknown"));
      wait = LATER;
    }
  } finally {
    saving = null;
    keepHere();
    if (dirty) { clearTimeout(there); there = setTimeout(keepThere, wait); }
  }
}

export function rename(name) {
  if (!name || name === project.name) return;
  project.name = name;
  keep();
  tell("project");
}

// -- opening ----------------------------------------------------------------------------------------------

function take({ id = null, revision = 0, name = "", layers = null, export: out = {}, page = {}, first: sent = null }) {
  const { duration = null, ...rest } = page ?? {};
  Object.assign(project, { id, revision, name });
  work = {
    layers: (layers?.layers ?? []).map((l) => ({ ...l, uid: uid() })), duration: layers?.duration ?? duration,
    export: { ...EXPORT, ...out }, page: { ...PAGE, ...rest },
  };
  past = [];
  future = [];
  dirty = false;
  first = sent;
}

// A new piece of work on the portrait that was just chosen.
export function begin(name) {
  take({ name });
  keepHere();
  tell("project");
  tell("work");
}

// Show a project that is known here; its portrait must have been set.
export function show(found) {
  take(found);
  keepHere();
  tell("project");
  tell("work");
}

// The project this browser had open: the studio's, or the browser's own copy where that is newer or the studio has none.
export async function remembered() {
  let mine = null;
  try { mine = JSON.parse(localStorage.getItem("work") ?? "null"); } catch { /* none */ }
  if (!mine) return null;
  if (!mine.id) return { ...mine, unsaved: mine.dirty || Boolean(mine.first) };
  try {
    const theirs = await json(`/v1/projects/${mine.id}`);
    return mine.dirty && mine.revision === theirs.revision ? { ...mine, unsaved: true } : theirs;
  } catch (error) { return error.status === 404 ? { ...mine, id: null, revision: 0, first: null, unsaved: true } : null; }
}

export const unsaved = () => keep();
export async function flush() {
  clearTimeout(there);
  await saving?.catch(() => {});
  await keepThere();
}

export function start() {
  window.addEventListener("pagehide", keepHere);
  document.addEventListener("visibilitychange", () => { if (document.hidden && dirty) { clearTimeout(there); keepThere(); } });
  on("back", () => { if (dirty) keep(); });
}

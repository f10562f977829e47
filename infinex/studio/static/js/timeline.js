// The timeline: every layer a track, from the top down; dragged, trimmed and moved by keys as well.

import { group, shared, on, tell } from "./state.js";
import { $, $$, able, icon, make, toast } from "./ui.js";
import { number, t } from "./words.js";
import { canRedo, canUndo, change, documentOf, layer, redo, uid, undo, work } from "./project.js";
import * as player from "./player.js";
import * as stage from "./stage.js";
import * as view from "./view.js";

const LEAST = 0.1; // seconds of a layer
const ICONS = { performance: "drive", voice: "sound", words: "words", expression: "express", head: "head" };
export let selected = null; // {uid, moment: number of a keyframe or null}
const places = new Map(); // uid -> {from, to, seconds} as the studio said
let pose = null; // the sliders, while they belong to no moment
let held = null; // the scale in seconds while something is dragged
let waits = false; // whether that is the end of a clip, whose part is read once it is let go

export const place = (l) => places.get(l.uid) ?? { from: l.at ?? 0, to: (l.at ?? 0) + (l.length ?? 2), seconds: l.length ?? 2 };
// What the studio says of one layer, without where that stands: the page shows it beside the layer.
export const plain = (text) => text.replace(/^Layer \d+ \(\w+\): (say: |text: )?/, "");
const words = (said) => said.replace(/\[[^\]]*\]/g, " ").trim() || said; // without what is acted
export const nameOf = (l) => l.name || (l.say && words(l.say).slice(0, 40)) || l.text?.slice(0, 40) || t(`kind.${l.kind}`);
// A layer's name, and of a group the face it moves.
const titled = (l) => (l.face && group() ? `${nameOf(l)} · ${t("layer.face.number", { number: l.face })}` : nameOf(l));
const badge = (l) => (l.face && group() ? make("i", { class: "badge", "aria-hidden": "true", "data-number": l.face }) : null);
// The face that a new layer moves, where there are several and not all are to do the same.
export const whose = () => (group() && !work.page.all ? { face: shared.face } : {});
export const keyed = (l) => Boolean(l?.keyframes);
export const current = () => (selected ? layer(selected.uid) : null);
const total = () => held ?? Math.max(1, player.clock.duration || Math.max(...work.layers.map((l) => place(l).to)));
const round = (v) => Math.round(v * 100) / 100;

export function select(id, moment = null, { go = true } = {}) {
  if (selected?.uid === id && selected?.moment === moment) return;
  selected = id ? { uid: id, moment } : null;
  const l = current();
  if (go && l && moment !== null) player.seek(place(l).from + (l.keyframes[moment].time - (l.start ?? 0)) / (l.speed ?? 1));
  draw();
  tell("selected");
}

// Put a layer on the timeline, above the others, and choose it.
export function add(fields, { at = 0 } = {}) {
  const one = { uid: uid(), ...whose(), ...(at ? { at: round(at) } : {}), ...fields };
  change((w) => { w.layers.push(one); });
  select(one.uid, keyed(one) ? one.keyframes.length - 1 : null, { go: false });
  return one;
}

export function drop(id) {
  change((w) => { w.layers = w.layers.filter((l) => l.uid !== id); });
  if (selected?.uid === id) select(null);
}

export function duplicate(id) {
  const l = layer(id);
  if (l) add({ ...structuredClone(l), uid: uid(), at: round(place(l).to) });
}

export function reorder(id, up) {
  change((w) => {
    const i = w.layers.findIndex((l) => l.uid === id), j = i + (up ? 1 : -1);
    if (j >= 0 && j < w.layers.length) [w.layers[i], w.layers[j]] = [w.layers[j], w.layers[i]];
  });
}

export const set = (id, fields, key = null) => change((w) => {
  const l = w.layers.find((one) => one.uid === id);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null || value === "") delete l[name];
    else l[name] = value;
  }
}, key);

// -- moving and trimming --------------------------------------------------------------------------------

// What is seen at once; the studio's own word follows.
const shift = (id, { from, to, seconds }, begin, end) => places.set(id, { seconds, from: begin ?? from, to: end ?? to });

function move(l, where, to) {
  const from = Math.max(0, to);
  shift(l.uid, where, from, from + where.to - where.from);
  set(l.uid, { at: round(from) || null }, `at ${l.uid}`);
}

// The beginning later or earlier, the rest stays where it is; `l` and `where` are as they were before.
function trimStart(l, where, by) {
  const speed = l.speed ?? 1, longest = where.to - where.from - LEAST;
  const step = Math.min(longest, Math.max(by, -where.from, keyed(l) || l.loop ? -where.from : -(l.start ?? 0) / speed));
  const fields = { at: round(where.from + step) || null, length: l.length ? round(l.length - step) : null };
  if (keyed(l)) fields.keyframes = l.keyframes.map((k) => ({ ...k, time: round(Math.max(0, k.time - step * speed)) }));
  else if (!l.loop) fields.start = round((l.start ?? 0) + step * speed) || null;
  shift(l.uid, where, where.from + step);
  set(l.uid, fields, `start ${l.uid}`);
}

function trimEnd(l, where, by) {
  const speed = l.speed ?? 1, wanted = Math.max(LEAST, where.to - where.from + by);
  shift(l.uid, where, null, where.from + wanted);
  if (keyed(l) || l.loop || l.hold || l.length) set(l.uid, { length: round(wanted) }, `end ${l.uid}`);
  else {
    const end = Math.min(where.seconds, (l.start ?? 0) + wanted * speed);
    set(l.uid, { end: end >= where.seconds - 0.005 ? null : round(end) }, `end ${l.uid}`);
  }
}

function moveMoment(l, index, time) {
  let wanted = round(Math.max(0, time));
  while (l.keyframes.some((k, i) => i !== index && Math.abs(k.time - wanted) < 0.01)) wanted = round(wanted + 0.02);
  const moved = { ...l.keyframes[index], time: wanted };
  const keys = l.keyframes.map((k, i) => (i === index ? moved : k)).sort((a, b) => a.time - b.time);
  set(l.uid, { keyframes: keys }, `moment ${l.uid}`);
  selected = { uid: l.uid, moment: keys.indexOf(moved) };
}

function dragging(node, l, how, late = false) {
  node.addEventListener("pointerdown", (e) => {
    if (e.button) return;
    e.stopPropagation();
    const lane = node.closest(".lane");
    const per = total() / lane.clientWidth;
    const start = e.clientX, was = structuredClone(layer(l.uid)), where = { ...place(l) };
    let moved = false;
    const go = (m) => {
      const by = (m.clientX - start) * per;
      if (!moved && Math.abs(m.clientX - start) < 4) return;
      if (!moved) { moved = true; waits = late; held = total(); }
      how(was, where, by);
    };
    const end = () => {
      removeEventListener("pointermove", go);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      held = null;
      if (moved) draw(); // else it is a click on what is there
      if (waits) { waits = false; refresh(); }
    };
    addEventListener("pointermove", go);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  });
}

// -- drawing --------------------------------------------------------------------------------------------

const share = (seconds) => `${(100 * Math.min(Math.max(0, seconds), total())) / total()}%`;

function block(l) {
  const { from, to } = place(l);
  const node = make("button", {
    class: `block ${l.kind}${l.off ? " off" : ""}`, "data-focus": `block ${l.uid}`, "aria-pressed": selected?.uid === l.uid, "aria-describedby": "track-keys",
    "aria-label": t("track.block", { name: titled(l), from: number(from, 1), to: number(to, 1) }),
    onclick: () => select(l.uid, selected?.uid === l.uid ? selected.moment : null),
  }, make("span", { text: nameOf(l) }));
  node.style.left = share(from);
  node.style.width = `calc(${share(to)} - ${share(from)})`;
  const ends = [make("i", { class: "grip start" }), make("i", { class: "grip end" })];
  node.append(...ends);
  dragging(node, l, (was, where, by) => move(was, where, where.from + by));
  const late = Boolean(l.asset) && !l.loop;
  dragging(ends[0], l, trimStart, late);
  dragging(ends[1], l, trimEnd, late);
  node.addEventListener("keydown", (e) => {
    const one = layer(l.uid), step = { ArrowRight: 0.1, ArrowLeft: -0.1 }[e.key] * (e.shiftKey ? 10 : 1);
    if (step && e.altKey) trimEnd(one, place(one), step);
    else if (step) move(one, place(one), place(one).from + step);
    else if (e.key === "[") trimStart(one, place(one), player.clock.time - place(one).from);
    else if (e.key === "]") trimEnd(one, place(one), player.clock.time - place(one).to);
    else if (e.key === "Delete" || e.key === "Backspace") drop(one.uid);
    else if (e.key === "ArrowUp" || e.key === "ArrowDown") reorder(one.uid, e.key === "ArrowUp");
    else return;
    e.preventDefault();
  });
  return node;
}

function moment(l, index) {
  const key = l.keyframes[index];
  const time = () => place(l).from + (key.time - (l.start ?? 0)) / (l.speed ?? 1);
  const chosen = selected?.uid === l.uid && selected.moment === index;
  const node = make("button", {
    class: "moment", "aria-pressed": chosen, "data-focus": `moment ${l.uid} ${index}`, "aria-describedby": "moment-keys",
    "aria-label": t("track.moment", { n: index + 1, number: index + 1, time: number(time(), 1) }), onclick: () => select(l.uid, index),
  });
  node.style.left = share(time());
  dragging(node, l, (was, where, by) => {
    const i = Math.min(selected?.uid === l.uid && selected.moment !== null ? selected.moment : index, was.keyframes.length - 1);
    moveMoment(layer(l.uid), i, key.time + by * (l.speed ?? 1));
  });
  node.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 0.1, ArrowLeft: -0.1 }[e.key];
    if (step) {
      moveMoment(layer(l.uid), index, key.time + step * (e.shiftKey ? 10 : 1));
      draw();
      $(`[data-focus="moment ${l.uid} ${selected.moment}"]`)?.focus();
    } else if (e.key === "Delete" || e.key === "Backspace") dropMoment(l.uid, index);
    else return;
    e.preventDefault();
  });
  return node;
}

export function dropMoment(id, index) {
  const l = layer(id);
  if (l.keyframes.length < 2) { drop(id); return; }
  set(id, { keyframes: l.keyframes.filter((_, i) => i !== index) });
  selected = { uid: id, moment: null };
  draw();
  tell("selected");
}

function track(l) {
  const chosen = selected?.uid === l.uid;
  const name = make("button", { class: "track-name", "aria-pressed": chosen, "data-focus": `name ${l.uid}`, "aria-label": t("track.choose", { name: titled(l) }), title: titled(l), onclick: () => { select(l.uid); if (shared.view !== "drive" && !keyed(l)) location.hash = "#drive"; } },
    icon(ICONS[l.kind]), badge(l), make("span", { text: nameOf(l) }));
  const lane = make("div", { class: "lane" }, block(l), ...(keyed(l) ? l.keyframes.map((_, i) => moment(l, i)) : []));
  lane.addEventListener("pointerdown", (e) => {
    if (e.target !== lane) return;
    const box = lane.getBoundingClientRect();
    player.seek(((e.clientX - box.left) / box.width) * total());
  });
  return make("div", { class: `track${chosen ? " chosen" : ""}` }, name, lane);
}

export function draw() {
  const focused = document.activeElement?.dataset?.focus;
  $("#timeline").classList.toggle("empty", !work.layers.length);
  $("#tracks-none").hidden = work.layers.length > 0;
  const marks = [];
  const step = [0.5, 1, 2, 5, 10, 20, 60].find((s) => total() / s <= 8) ?? 60;
  for (let s = 0; s <= 0.92 * total() && work.layers.length; s += step) { // the last one would be cut off
    const mark = make("span", { text: number(s, step < 1 ? 1 : 0) });
    mark.style.left = share(s);
    marks.push(mark);
  }
  $("#ruler").replaceChildren(...marks);
  if (!held) $("#tracks").replaceChildren(...[...work.layers].reverse().map(track));
  else for (const l of work.layers) {
    const node = $(`[data-focus="block ${l.uid}"]`), { from, to } = place(l);
    if (!node) continue;
    node.style.left = share(from);
    node.style.width = `calc(${share(to)} - ${share(from)})`;
    $$(".moment", node.parentElement).forEach((m, i) => { if (l.keyframes[i]) m.style.left = share(from + (l.keyframes[i].time - (l.start ?? 0)) / (l.speed ?? 1)); });
  }
  if (focused && document.activeElement?.dataset?.focus !== focused) ($(`[data-focus="${focused}"]`) ?? $(".block", $("#tracks")) ?? $("#layer-add")).focus({ preventScroll: true });
  able($("#undo"), canUndo());
  able($("#redo"), canRedo());
  head(player.clock.time);
}

const head = (time) => $("#lanes").style.setProperty("--share", Math.min(1, time / total()));

// -- what the stage shows ---------------------------------------------------------------------------------

// Show the layers at the clock's time; `free` is a setting of sliders that belongs to none of them.
export function refresh(free = pose) {
  pose = free;
  if (!shared.portrait || waits) return;
  view.dismiss();
  if (!work.layers.length) {
    stage.layers(null);
    tell("misunderstood", null);
    player.empty();
    if (shared.view !== "live") stage.express(pose ?? {});
    return;
  }
  if (player.clock.playing) player.pause();
  const extra = pose ? { kind: "expression", ...whose(), keyframes: [{ time: 0, ...pose }], length: Math.max(LEAST, player.clock.duration || 1), fade_in: 0, fade_out: 0 } : null;
  stage.layers(documentOf(extra), group() && work.page.all);
  stage.at(player.clock.time);
}

export const forget = () => { pose = null; };

export function begin() {
  $("#undo").addEventListener("click", undo);
  $("#redo").addEventListener("click", redo);
  document.addEventListener("keydown", (e) => {
    if (!(e.ctrlKey || e.metaKey) || e.key.toLowerCase() !== "z" || e.target.closest("input[type=text], textarea")) return;
    e.preventDefault();
    if (e.shiftKey) redo(); else undo();
  });
  on("work", () => {
    if (selected && !layer(selected.uid)) { selected = null; tell("selected"); }
    else if (selected && selected.moment !== null && selected.moment >= (current().keyframes?.length ?? 0)) { selected.moment = null; tell("selected"); }
    draw();
    refresh();
  });
  on("scene", (found) => {
    const bad = found.error && (/^Layer (\d+)/.exec(found.error)?.[1] ?? 0);
    tell("misunderstood", found.error ? { text: plain(found.error), uid: work.layers[bad - 1]?.uid } : null);
    if (found.error) { if (!bad) toast(found.error); return; }
    if (found.layers.length >= work.layers.length && !held) work.layers.forEach((l, i) => places.set(l.uid, found.layers[i]));
    draw();
  });
  on("seen", () => refresh());
  on("face", () => refresh());
  on("clock", head);
  on("portrait", () => { selected = null; pose = null; });
  on("view", (name) => {
    $("#timeline").hidden = !["express", "drive"].includes(name);
    if (name === "drive" && pose) refresh(null); // sliders that were not kept are for the other section
  });
}

// The face by hand: feelings, the pad, a slider for every muscle; moments of it go on the timeline.

import { ask, json, post, remove } from "./api.js";
import { shared, on } from "./state.js";
import { $, $$, able, dress, icon, make, refill, save, sayError } from "./ui.js";
import { language, named, number, percent, t } from "./words.js";
import { layer } from "./project.js";
import * as player from "./player.js";
import * as timeline from "./timeline.js";

const TURNS = ["yaw", "pitch", "roll", "right", "down"];
const FIRST = ["happy", "sad", "angry", "surprised", "afraid", "disgusted", "contemptuous"];
const LEAD = 0.4;
const LASTS = 2; // seconds that a first moment stands
let units = {}; // what the sliders say
let turns = Object.fromEntries(TURNS.map((k) => [k, 0]));
let emotion = null;
const sliders = new Map(); // key -> {show}

export const expression = () => ({
  units: Object.fromEntries(Object.entries(units).filter(([, v]) => v)), ...Object.fromEntries(Object.entries(turns).filter(([, v]) => v)),
});
const neutral = () => !Object.values(units).some(Boolean) && !Object.values(turns).some(Boolean);
const feeling = (name) => named("emotion", name, name[0].toUpperCase() + name.slice(1));

export function begin() {
  const { offer } = shared;
  const chips = Object.keys(offer.emotions).filter((n) => n !== "neutral");
  for (const name of chips) {
    $("#emotions").append(make("button", { class: "chip", "aria-pressed": "false", "data-emotion": name, text: feeling(name), hidden: !FIRST.includes(name) || undefined, onclick: () => feel(emotion === name ? null : name) }));
  }
  if (chips.some((n) => !FIRST.includes(n))) {
    const more = make("button", { class: "chip", text: t("emotions.more"), onclick: () => {
      $$("#emotions .chip").forEach((c) => { c.hidden = false; });
      more.remove();
    } });
    $("#emotions").append(more);
  }
  dress($("#amount"), (v) => percent(v)).addEventListener("input", () => { if (emotion) feel(emotion); });
  for (const group of offer.units) $("#groups").append(card(group));
  for (const key of TURNS) {
    const limit = offer.turn[key] ?? offer.gaze[key];
    slider($("#turns"), key, t(`turn.${key}`), -limit, limit, (v) => { turns[key] = v; }, () => turns[key], (v) => `${number(v)}°`);
  }
  pad();
  $("#key-add").addEventListener("click", keepMoment);
  $("#key-remove").addEventListener("click", () => timeline.dropMoment(timeline.selected.uid, timeline.selected.moment));
  $("#reset").addEventListener("click", () => { clear(); update(); });
  $("#save").addEventListener("click", async (e) => {
    able(e.target, false);
    try {
      const response = await ask(`/v1/portraits/${shared.portrait.id}/still?face=${shared.face}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(expression()),
      });
      save(await response.blob(), "infinex-portrait.png");
    } catch (error) { sayError(error); }
    able(e.target, true);
  });
  $("#expression-keep").addEventListener("submit", async (e) => {
    e.preventDefault();
    const name = $("#expression-name").value.trim();
    if (!name || neutral()) return;
    try { await post("/v1/expressions", { name, expression: expression() }); $("#expression-name").value = ""; } catch (error) { sayError(error); }
    own();
  });
  own();
  on("portrait", clear);
  on("selected", chosen);
  on("view", (name) => { if (name === "express" && shared.portrait) { chosen(); update(); } });
}

// The visitor's own expressions.
async function own() {
  let list;
  try { list = await json("/v1/expressions"); } catch { return; }
  refill($("#expressions"), list.map((one) => make("span", { class: "pairing-chip" },
    make("button", { class: "chip", text: one.name, onclick: () => { load(one.expression); update(); } }),
    make("button", { class: "icon", "aria-label": t("own.remove", { name: one.name }), onclick: async () => { await remove(`/v1/expressions/${one.id}`).catch(sayError); own(); } }, icon("bin")))), $("#expression-name"));
}

function slider(place, key, label, low, high, set, get, words, { sub = false, hint = "" } = {}) {
  const input = make("input", { type: "range", min: low, max: high, step: low < 0 ? 0.5 : 0.01, value: 0, "aria-label": label, "data-key": key });
  if (low < 0) input.className = "middle";
  const row = make("label", { class: sub ? "slider sub" : "slider", title: hint || undefined }, make("span", { text: label }), input, make("output"));
  place.append(row);
  dress(input, words);
  input.addEventListener("input", () => { set(Number(input.value)); emotion = null; markEmotion(); update(); });
  input.addEventListener("dblclick", () => { input.value = 0; input.dispatchEvent(new Event("input")); });
  sliders.set(key, { show: () => { input.value = get(); input.show(); } });
  return row;
}

// A group of units: one slider for both sides, and one for each where the anatomy has two.
function card(group) {
  const body = make("div");
  const numbers = [...new Set(group.units.map((u) => u.number))];
  for (const unit of numbers) {
    const members = group.units.filter((u) => u.number === unit);
    const main = members.find((u) => !u.side);
    const sides = members.filter((u) => u.side);
    const names = main ? [main.name] : sides.map((u) => u.name);
    const label = named("unit", unit, members[0].label);
    const head = make("div", { class: "unit-head" });
    const set = (v) => { for (const n of names) units[n] = v; for (const u of main ? sides : []) units[u.name] = 0; showAll(); };
    const get = () => Math.max(...names.map((n) => units[n] ?? 0), 0);
    slider(head, `AU${unit}`, label, 0, 1, set, get, percent, { hint: language === "en" ? `${members[0].title} (AU${unit})` : `AU${unit}` });
    body.append(head);
    if (sides.length === 2) {
      const box = make("div", { hidden: true });
      const button = make("button", { class: "sides", text: t("sides"), "aria-expanded": "false", "aria-label": `${t("sides")}: ${label}`, title: t("sides.hint"), onclick: () => {
        box.hidden = !box.hidden;
        button.setAttribute("aria-expanded", !box.hidden);
      } });
      head.append(button);
      for (const u of sides) {
        slider(box, u.name, t(u.side === "L" ? "side.left" : "side.right", { label }), 0, 1, (v) => {
          if (main && units[main.name]) { for (const s of sides) units[s.name] = units[main.name]; units[main.name] = 0; }
          units[u.name] = v;
          showAll();
        }, () => Math.max(units[u.name] ?? 0, main ? units[main.name] ?? 0 : 0), percent, { sub: true, hint: u.name });
      }
      body.append(box);
    }
  }
  return make("details", { class: "card" }, make("summary", {}, make("h2", { text: named("group", group.title, group.title) })), body);
}

const showAll = () => { for (const s of sliders.values()) s.show(); };

function clear() {
  units = {};
  turns = Object.fromEntries(TURNS.map((k) => [k, 0]));
  emotion = null;
  markEmotion();
  placeDot(0, 0);
  showAll();
}

function load(e) {
  units = { ...e.units };
  turns = Object.fromEntries(TURNS.map((k) => [k, e[k] ?? 0]));
  emotion = null;
  markEmotion();
  showAll();
}

function markEmotion() {
  for (const chip of $$("#emotions .chip")) chip.setAttribute("aria-pressed", chip.dataset.emotion === emotion);
}

function feel(name) {
  emotion = name;
  const amount = Number($("#amount").value);
  units = {};
  if (name) for (const [unit, value] of Object.entries(shared.offer.emotions[name])) units[unit] = value * amount;
  markEmotion();
  showAll();
  update();
}

// The sliders' setting is that of the chosen moment, or stands alone on the portrait.
function update() {
  if (!shared.portrait) return;
  able($("#reset"), !neutral());
  const { uid, moment } = timeline.selected ?? {};
  if (uid && moment !== null && layer(uid)?.keyframes?.[moment]) {
    const keyframes = layer(uid).keyframes.map((k, i) => (i === moment ? { time: k.time, ...fitting(layer(uid)) } : k));
    timeline.forget();
    timeline.set(uid, { keyframes }, `pose ${uid} ${moment}`);
  } else timeline.refresh(neutral() ? null : expression());
}

// What a layer of this kind takes of the sliders.
const fitting = (l) => {
  const { units: faces, ...rest } = expression();
  return l.kind === "head" ? rest : { units: faces, ...rest };
};

function chosen() {
  const l = timeline.current(), moment = timeline.selected?.moment ?? null;
  able($("#key-remove"), moment !== null);
  $("#key-words").textContent = moment === null ? t("moments.free") : t("moments.chosen", { number: moment + 1 });
  able($("#key-add"), true);
  if (moment !== null && l?.keyframes?.[moment]) { timeline.forget(); load(l.keyframes[moment]); able($("#reset"), !neutral()); }
}

// Keep the sliders' setting as a moment: on the chosen layer of moments, else on a new one.
function keepMoment() {
  const time = player.clock.time;
  let l = timeline.current();
  if (!timeline.keyed(l)) l = null;
  const only = $("#key-head").checked;
  if (l && ((l.kind === "head") !== only || (l.face ?? shared.face) !== shared.face)) l = null;
  timeline.forget();
  if (!l) {
    const kind = only ? "head" : "expression";
    const lead = Math.round(100 * Math.min(LEAD, time)) / 100; // in which it comes, so that it is whole at its time
    l = timeline.add({ kind, keyframes: [{ time: lead, ...fitting({ kind }) }], length: LASTS, ...(lead ? { fade_in: lead } : {}) }, { at: time - lead });
  } else {
    const speed = l.speed ?? 1, { from } = timeline.place(l), last = l.keyframes[l.keyframes.length - 1].time;
    let at = Math.round((time - from) * speed * 100) / 100;
    if (at < 0 || l.keyframes.some((k) => Math.abs(k.time - at) < 0.03)) at = last + speed;
    const keyframes = [...l.keyframes, { time: at, ...fitting(l) }].sort((a, b) => a.time - b.time);
    // The layer lasts as long as its moments and a little.
    timeline.set(l.uid, { keyframes, hold: true, length: Math.round(100 * Math.max(l.length ?? 0, (keyframes[keyframes.length - 1].time + 0.5) / speed)) / 100 });
  }
  timeline.select(l.uid, null, { go: false });
  player.park(Math.round((time + 1) * 100) / 100);
  clear();
}

// -- the pad ------------------------------------------------------------------------------------------

let at = [0, 0];

function placeDot(x, y) {
  at = [x, y];
  const dot = $("#dot");
  dot.style.left = `${100 * x}%`;
  dot.style.bottom = `${100 * y}%`;
  const [a, b] = [$("#pad-x").value, $("#pad-y").value];
  const node = $("#pad");
  node.setAttribute("aria-valuenow", Math.round(100 * Math.max(x, y)));
  node.setAttribute("aria-valuetext", t("pad.value", { a: feeling(a), x: percent(x), b: feeling(b), y: percent(y) }));
}

function mixPad(x, y) {
  placeDot(Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y)));
  const { emotions } = shared.offer;
  const mixed = {};
  for (const [name, share] of [[$("#pad-x").value, at[0]], [$("#pad-y").value, at[1]]]) {
    for (const [unit, value] of Object.entries(emotions[name] ?? {})) mixed[unit] = Math.min(1, (mixed[unit] ?? 0) + share * value);
  }
  units = mixed;
  emotion = null;
  markEmotion();
  showAll();
  update();
}

function pad() {
  const names = Object.keys(shared.offer.emotions).filter((n) => n !== "neutral");
  const fill = (select, value) => {
    for (const n of names) select.append(make("option", { value: n, text: feeling(n) }));
    select.value = names.includes(value) ? value : names[0];
    select.addEventListener("change", () => { label(); mixPad(...at); });
  };
  const label = () => { $("#axis-x").textContent = `${feeling($("#pad-x").value)} →`; $("#axis-y").textContent = `↑ ${feeling($("#pad-y").value)}`; };
  fill($("#pad-x"), "happy");
  fill($("#pad-y"), "surprised");
  label();
  const node = $("#pad");
  const move = (e) => {
    const box = node.getBoundingClientRect();
    mixPad((e.clientX - box.left) / box.width, 1 - (e.clientY - box.top) / box.height);
  };
  node.addEventListener("pointerdown", (e) => { node.setPointerCapture(e.pointerId); move(e); });
  node.addEventListener("pointermove", (e) => { if (node.hasPointerCapture(e.pointerId)) move(e); });
  node.addEventListener("keydown", (e) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], Home: [-99, -99] }[e.key];
    if (!step) return;
    e.preventDefault();
    mixPad(at[0] + 0.05 * step[0], at[1] + 0.05 * step[1]);
  });
}

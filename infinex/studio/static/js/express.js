// Sliders, feelings, the pad, the timeline.

import { on, shared } from "./state.js";
import { $, $$, dress, make, sayError } from "./ui.js";
import * as stage from "./stage.js";
import { common, makeIn } from "./job.js";
import { saveStill } from "./portrait.js";

const TURNS = [
  ["yaw", "Turn the head"], ["pitch", "Nod"], ["roll", "Tilt"], ["right", "Look sideways"], ["down", "Look up or down"],
];
const FIRST = ["happy", "sad", "angry", "surprised", "afraid", "disgusted", "contemptuous"];
let units = {}; // what the sliders say
let turns = { yaw: 0, pitch: 0, roll: 0, right: 0, down: 0 };
let emotion = null;
const sliders = new Map(); // key -> {input, get, set}
let keys = []; // {time, expression, picture}
let chosen = null;
let rolling = 0;

export const expression = () => ({ units: Object.fromEntries(Object.entries(units).filter(([, v]) => v)), ...turns });
const percent = (v) => String(Math.round(100 * v));
const neutral = () => !Object.values(units).some(Boolean) && !Object.values(turns).some(Boolean);

export function begin() {
  const { offer } = shared;
  for (const name of Object.keys(offer.emotions)) {
    if (name === "neutral") continue;
    const simple = FIRST.includes(name);
    const chip = make("button", { class: "chip", "aria-pressed": "false", "data-emotion": name, text: name[0].toUpperCase() + name.slice(1), hidden: !simple || undefined, onclick: () => feel(emotion === name ? null : name) });
    $("#emotions").append(chip);
  }
  if (Object.keys(offer.emotions).some((n) => n !== "neutral" && !FIRST.includes(n))) {
    const more = make("button", { class: "chip", text: "More…", "aria-expanded": "false", onclick: () => {
      $$("#emotions .chip").forEach((c) => { c.hidden = false; });
      more.remove();
    } });
    $("#emotions").append(more);
  }
  dress($("#amount"), (v) => percent(v)).addEventListener("input", () => { if (emotion) feel(emotion); });
  for (const group of offer.units) $("#groups").append(card(group));
  const turnBox = $("#turns");
  for (const [key, label] of TURNS) {
    const limit = offer.turn[key] ?? offer.gaze[key];
    slider(turnBox, key, label, -limit, limit, (v) => { turns[key] = v; }, () => turns[key], (v) => `${Math.round(v)}°`);
  }
  pad();
  timeline();
  const hold = $("#hold");
  const before = (show) => { $("#before").hidden = !show; hold.setAttribute("aria-pressed", show); };
  hold.addEventListener("pointerdown", () => before(true));
  for (const end of ["pointerup", "pointerleave", "blur"]) hold.addEventListener(end, () => before(false));
  hold.addEventListener("keydown", (e) => { if (e.key === " " || e.key === "Enter") { e.preventDefault(); before(true); } });
  hold.addEventListener("keyup", () => before(false));
  $("#reset").addEventListener("click", () => { clear(); update(); });
  $("#save").addEventListener("click", async (e) => {
    e.target.disabled = true;
    try { await saveStill(expression()); } catch (error) { sayError(error); }
    e.target.disabled = false;
  });
  on("portrait", () => { clear(); keys = []; chosen = null; showKeys(); $("#key-job").replaceChildren(); });
  on("face", () => update());
  on("view", (name) => { if (name === "express" && shared.portrait) update(); else stopRolling(); });
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
  for (const number of numbers) {
    const members = group.units.filter((u) => u.number === number);
    const main = members.find((u) => !u.side);
    const sides = members.filter((u) => u.side);
    const names = main ? [main.name] : sides.map((u) => u.name);
    const hint = `${members[0].title} (AU${number})`;
    const head = make("div", { class: "unit-head" });
    const set = (v) => { for (const n of names) units[n] = v; for (const u of main ? sides : []) units[u.name] = 0; showAll(); };
    const get = () => Math.max(...names.map((n) => units[n] ?? 0), 0);
    slider(head, `AU${number}`, members[0].label, 0, 1, set, get, percent, { hint });
    body.append(head);
    if (sides.length === 2) {
      const box = make("div", { hidden: true });
      const button = make("button", { class: "sides", text: "L  R", "aria-expanded": "false", "aria-label": `${members[0].label}: left and right apart`, onclick: () => {
        box.hidden = !box.hidden;
        button.setAttribute("aria-expanded", !box.hidden);
      } });
      head.append(button);
      for (const u of sides) {
        const label = u.side === "L" ? "Their left" : "Their right";
        slider(box, u.name, label, 0, 1, (v) => {
          if (main && units[main.name]) { for (const s of sides) units[s.name] = units[main.name]; units[main.name] = 0; }
          units[u.name] = v;
          showAll();
        }, () => Math.max(units[u.name] ?? 0, main ? units[main.name] ?? 0 : 0), percent, { sub: true, hint: u.name });
      }
      body.append(box);
    }
  }
  return make("details", { class: "card" }, make("summary", {}, make("h2", { text: group.title })), body);
}

const showAll = () => { for (const s of sliders.values()) s.show(); };

function clear() {
  units = {};
  turns = { yaw: 0, pitch: 0, roll: 0, right: 0, down: 0 };
  emotion = null;
  markEmotion();
  placeDot(0, 0);
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

function update() {
  if (!shared.portrait) return;
  if (!rolling) $("#reset").disabled = neutral();
  stage.express(expression());
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
  node.setAttribute("aria-valuetext", `${a} ${percent(x)} percent, ${b} ${percent(y)} percent`);
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
    for (const n of names) select.append(make("option", { value: n, text: n }));
    select.value = names.includes(value) ? value : names[0];
    select.addEventListener("change", () => { label(); mixPad(...at); });
  };
  const label = () => { $("#axis-x").textContent = `${$("#pad-x").value} →`; $("#axis-y").textContent = `↑ ${$("#pad-y").value}`; };
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

// -- the timeline -------------------------------------------------------------------------------------

const long = () => Math.min(60, Math.max(1, Number($("#length").value) || 4));

function timeline() {
  const timeInput = dress($("#time"), (v) => `${v.toFixed(1)} s`);
  timeInput.addEventListener("input", () => { stopRolling(); seek(Number(timeInput.value)); });
  $("#length").addEventListener("change", () => { $("#length").value = long(); timeInput.max = long(); timeInput.show(); showKeys(); });
  $("#key-add").addEventListener("click", addKey);
  $("#key-remove").addEventListener("click", () => { keys = keys.filter((k) => k !== chosen); chosen = null; showKeys(); });
  $("#key-play").addEventListener("click", () => (rolling ? stopRolling() : roll()));
  $("#key-make").addEventListener("click", () => {
    stopRolling();
    const frames = keys.map((k) => ({ time: k.time, ...k.expression }));
    if (keys[keys.length - 1].time < long()) frames.push({ ...frames[frames.length - 1], time: long() });
    makeIn($("#key-job"), { ...common(), keyframes: JSON.stringify(frames), label: "Timeline" }, { panel: false });
  });
}

function addKey() {
  const time = Number($("#time").value);
  keys = keys.filter((k) => Math.abs(k.time - time) > 0.02);
  const canvas = $("#canvas");
  const small = document.createElement("canvas");
  const side = Math.min(canvas.width, canvas.height);
  small.width = small.height = 64;
  small.getContext("2d").drawImage(canvas, (canvas.width - side) / 2, 0, side, side, 0, 0, 64, 64);
  chosen = { time, expression: expression(), picture: small.toDataURL("image/jpeg", 0.8) };
  keys.push(chosen);
  keys.sort((a, b) => a.time - b.time);
  const next = Math.min(long(), time + 1);
  showKeys();
  const input = $("#time");
  input.value = next;
  input.show();
  $("#playhead").style.left = `${(100 * next) / long()}%`;
}

function showKeys() {
  const track = $("#track");
  $$(".key", track).forEach((k) => k.remove());
  for (const key of keys) {
    const node = make("button", { class: "key", "aria-pressed": key === chosen, "aria-label": `Moment at ${key.time.toFixed(1)} seconds; arrow keys move it` });
    node.style.left = `${(100 * key.time) / long()}%`;
    node.style.backgroundImage = `url(${key.picture})`;
    const moveTo = (t) => { key.time = Math.min(long(), Math.max(0, Math.round(t * 20) / 20)); node.style.left = `${(100 * key.time) / long()}%`; };
    node.addEventListener("pointerdown", (e) => { node.setPointerCapture(e.pointerId); chosen = key; });
    node.addEventListener("pointermove", (e) => {
      if (!node.hasPointerCapture(e.pointerId)) return;
      const box = track.getBoundingClientRect();
      moveTo((long() * (e.clientX - box.left)) / box.width);
    });
    node.addEventListener("pointerup", () => { keys.sort((a, b) => a.time - b.time); pick(key); });
    node.addEventListener("click", () => pick(key));
    node.addEventListener("keydown", (e) => {
      const step = { ArrowRight: 0.1, ArrowLeft: -0.1 }[e.key];
      if (step) { e.preventDefault(); moveTo(key.time + step); keys.sort((a, b) => a.time - b.time); }
      if (e.key === "Delete") { keys = keys.filter((k) => k !== key); chosen = null; showKeys(); }
    });
    track.append(node);
  }
  $("#key-remove").disabled = !chosen;
  $("#key-play").disabled = keys.length < 2;
  $("#key-make").disabled = keys.length < 1;
}

function pick(key) {
  chosen = key;
  load(key.expression);
  const input = $("#time");
  input.value = key.time;
  input.show();
  $("#playhead").style.left = `${(100 * key.time) / long()}%`;
  showKeys();
}

function load(e) {
  units = { ...e.units };
  turns = Object.fromEntries(TURNS.map(([k]) => [k, e[k] ?? 0]));
  emotion = null;
  markEmotion();
  showAll();
  update();
}

function between(time) {
  const after = keys.find((k) => k.time >= time) ?? keys[keys.length - 1];
  const before = [...keys].reverse().find((k) => k.time <= time) ?? keys[0];
  const w = after === before ? 0 : (time - before.time) / (after.time - before.time);
  const s = w * w * (3 - 2 * w);
  const mix = (a = 0, b = 0) => a * (1 - s) + b * s;
  const names = new Set([...Object.keys(before.expression.units), ...Object.keys(after.expression.units)]);
  const out = { units: {} };
  for (const n of names) out.units[n] = mix(before.expression.units[n], after.expression.units[n]);
  for (const [k] of TURNS) out[k] = mix(before.expression[k], after.expression[k]);
  return out;
}

function seek(time) {
  $("#playhead").style.left = `${(100 * time) / long()}%`;
  if (keys.length > 1 && keys.some((k) => Math.abs(k.time - time) < 1e-3 || k.time > time)) load(between(time));
}

function roll() {
  const start = performance.now();
  $("#key-play").textContent = "Stop";
  const tick = (now) => {
    const time = ((now - start) / 1000) % long();
    $("#playhead").style.left = `${(100 * time) / long()}%`;
    stage.express(between(time));
    rolling = requestAnimationFrame(tick);
  };
  rolling = requestAnimationFrame(tick);
}

function stopRolling() {
  if (!rolling) return;
  cancelAnimationFrame(rolling);
  rolling = 0;
  $("#key-play").textContent = "Play";
}

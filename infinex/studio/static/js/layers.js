// The chosen layer: when it plays, how strongly, which parts of the face it moves.

import { asset } from "./assets.js";
import { group, on, shared } from "./state.js";
import { $, dress, make } from "./ui.js";
import { number, percent, t } from "./words.js";
import { layer } from "./project.js";
import * as timeline from "./timeline.js";

const PARTS = ["pose", "lips", "eyes", "brows", "gaze"];
let shown = null; // uid of what the card shows

function slide(l, name, usual, low, high, step, words) {
  const input = make("input", { type: "range", min: low, max: high, step, value: l[name] ?? usual, "data-field": name });
  const row = make("label", { class: "slider" }, make("span", { text: t(`layer.${name}`) }), input, make("output"));
  dress(input, words);
  const put = () => timeline.set(l.uid, { [name]: Number(input.value) === usual ? null : Number(input.value) }, `${name} ${l.uid}`);
  input.addEventListener("input", put);
  input.addEventListener("dblclick", () => { input.value = usual; input.show(); put(); });
  return row;
}

function seconds(l, name, low = 0) {
  const input = make("input", { type: "number", min: low, max: 3600, step: 0.1, value: l[name] ?? "", placeholder: t(`layer.${name}.usual`), "data-field": name });
  input.addEventListener("change", () => {
    if (!input.reportValidity()) return;
    timeline.set(l.uid, { [name]: input.value === "" ? null : Number(input.value) });
  });
  return make("label", { class: "field" }, make("span", { text: t(`layer.${name}`) }), input);
}

function check(l, name, usual = false) {
  const input = make("input", { type: "checkbox", "data-field": name });
  input.checked = l[name] ?? usual;
  input.addEventListener("change", () => timeline.set(l.uid, { [name]: input.checked === usual ? null : input.checked }));
  return make("label", { class: "check" }, input, t(`layer.${name}`));
}

function choice(l, name, options, usual) {
  const select = make("select", { "data-field": name }, ...options.map(([value, text]) => make("option", { value, text })));
  select.value = l[name] ?? usual;
  select.addEventListener("change", () => timeline.set(l.uid, { [name]: select.value === usual ? null : select.value }));
  return make("label", { class: "field row-field" }, make("span", { text: t(`layer.${name}`) }), select);
}

// Of a group, the face that it moves.
function whose(l) {
  const numbers = shared.portrait.faces.map((f) => String(f.number));
  const row = choice(l, "face", [["", t("layer.face.everyone")], ...numbers.map((n) => [n, t("layer.face.number", { number: n })])], "");
  const select = $("select", row);
  select.value = numbers.includes(String(l.face)) ? String(l.face) : "";
  select.addEventListener("change", (e) => { e.stopImmediatePropagation(); timeline.set(l.uid, { face: Number(select.value) || null }); }, { capture: true });
  return row;
}

function parts(l) {
  const boxes = PARTS.map((part) => {
    const input = make("input", { type: "checkbox", value: part, "data-field": `part ${part}` });
    input.checked = l.parts ? l.parts.includes(part) : true;
    input.addEventListener("change", () => {
      const on = boxes.filter((b) => b.input.checked).map((b) => b.input.value);
      if (!on.length) { input.checked = true; return; }
      timeline.set(l.uid, { parts: on.length === PARTS.length ? null : on });
    });
    return { input, label: make("label", {}, input, t(`part.${part}`)) };
  });
  return make("fieldset", { class: "checks" }, make("legend", { text: t("layer.parts") }), ...boxes.map((b) => b.label));
}

function body(l) {
  const clip = l.kind === "performance", voice = l.kind === "voice", keys = timeline.keyed(l);
  const name = make("input", { type: "text", maxlength: 80, value: l.name ?? "", placeholder: timeline.nameOf(l), "data-field": "name" });
  name.addEventListener("change", () => timeline.set(l.uid, { name: name.value.trim() }));
  const button = (key, act, style = "") => make("button", { class: `button small ${style}`, text: t(key), onclick: act, "data-field": key });
  const more = make("details", { class: "more" }, make("summary", { text: t("layer.more") }),
    make("div", { class: "fields" }, seconds(l, "fade_in"), seconds(l, "fade_out"), seconds(l, "length", 0.1)),
    check(l, "hold"),
    voice ? null : choice(l, "combine", [["replace", t("layer.combine.replace")], ["add", t("layer.combine.add")]], clip ? "replace" : "add"),
    clip && l.asset ? choice(l, "driver_face", [["largest", t("layer.driver_face.largest")], ["moving", t("layer.driver_face.moving")], ...[1, 2, 3, 4].map((n) => [String(n), t("layer.driver_face.number", { number: n })])], "largest") : null,
    clip && l.asset ? seconds(l, "reference") : null,
    make("div", { class: "row" }, button("layer.up", () => timeline.reorder(l.uid, true)), button("layer.down", () => timeline.reorder(l.uid, false))));
  more.open = open;
  more.addEventListener("toggle", () => { open = more.open; });
  return [
    make("label", { class: "field row-field" }, make("span", { text: t("layer.name") }), name),
    group() ? whose(l) : null,
    slide(l, "strength", 1, 0, 2, 0.05, percent),
    clip && l.asset ? slide(l, "smooth", 0.5, 0, 1, 0.05, percent) : null,
    slide(l, "speed", 1, 0.25, 4, 0.05, (v) => `${number(v, 2)} ×`),
    voice || (clip && asset(l.asset)?.sound) ? slide(l, "volume", 1, 0, 2, 0.05, percent) : null,
    voice ? null : parts(l),
    make("div", { class: "fields" }, seconds(l, "at"), keys ? null : seconds(l, "start"), keys ? null : seconds(l, "end", 0.1)),
    check(l, "loop"), clip && asset(l.asset)?.sound ? check(l, "sound", true) : null, ["voice", "words"].includes(l.kind) ? check(l, "still") : null, check(l, "off"),
    more,
    make("div", { class: "row" }, button("layer.duplicate", () => timeline.duplicate(l.uid)), button("layer.remove", () => timeline.drop(l.uid), "ghost")),
  ].filter(Boolean);
}

let open = false; // whether the rest is unfolded

function draw() {
  const l = timeline.current(), card = $("#layer-card");
  card.hidden = !l;
  if (!l) { shown = null; return; }
  const inside = card.contains(document.activeElement) ? document.activeElement.dataset.field : null;
  if (shown === l.uid && document.activeElement?.type === "range" && inside) { // a slider that is being moved stays
    for (const input of card.querySelectorAll('input[type="range"]')) if (input !== document.activeElement && l[input.dataset.field] !== undefined) { input.value = l[input.dataset.field]; input.show(); }
    return;
  }
  shown = l.uid;
  $("#layer-title").textContent = t("layer.title", { kind: t(`kind.${l.kind}`) });
  $("#layer-body").replaceChildren(...body(layer(l.uid)));
  if (inside) $(`[data-field="${inside}"]`, card)?.focus({ preventScroll: true });
}

export function begin() {
  on("selected", draw);
  on("work", draw);
  on("misunderstood", (what) => {
    const l = timeline.current(), written = l && ("say" in l || "text" in l); // of a text it is told below that
    $("#layer-problem").textContent = what && l?.uid === what.uid && !written ? what.text : "";
  });
}

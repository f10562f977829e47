// A museum's screen: the stage, large buttons, and back to the beginning when nobody is there.

import { json, post } from "./api.js";
import * as live from "./live.js";
import { shared, on, tell } from "./state.js";
import { $, $$, make, sayError } from "./ui.js";
import { named, t } from "./words.js";
import { whole } from "./view.js";
import * as stage from "./stage.js";
import * as work from "./project.js";

const ALONE = 75_000; // ms without a touch and without a face until it begins anew
const HOLD = 1500; // ms that the way out is held
const MOST = 6; // portraits
const FEELINGS = ["happy", "sad", "angry", "surprised", "afraid", "disgusted"];
let alone = null;
let before = null; // the work that was open
let first = null; // the portrait that it began with
let seen = false; // whether the camera sees a face
let felt = null; // the feeling that was asked for last

const feel = (name) => {
  felt = name;
  live.stop();
  for (const b of $$("#kiosk-feelings button")) b.setAttribute("aria-pressed", b.dataset.feeling === name);
  stage.layers(null);
  stage.express(name ? { units: shared.offer.emotions[name] } : {});
};

function touched() {
  clearTimeout(alone);
  if (shared.view === "kiosk") alone = setTimeout(() => (seen ? touched() : reset()), ALONE);
}

function take(portrait, feeling = null) {
  shared.portrait = portrait;
  shared.face = portrait.largest;
  tell("portrait");
  feel(feeling);
}

// What was asked for while it was on its way holds.
async function example(e) {
  felt = null;
  try { take({ ...(await post(`/studio/examples/${e.name}`)), name: e.label }, felt); } catch (error) { sayError(error); }
}

// The portraits of whoever set the screen up, else the examples.
async function offered() {
  const tile = (label, src, act) => make("button", { "aria-label": label, onclick: act }, make("img", { src, alt: "" }));
  let own = [];
  try { own = (await json("/v1/portraits")).slice(0, MOST); } catch { /* the examples do */ }
  $("#kiosk-portraits").replaceChildren(...(own.length ? own.map((p) => tile(p.name || t("project.unnamed"), `/v1/portraits/${p.id}/image?side=256`, () => take(p)))
    : shared.offer.examples.map((e) => tile(e.label, `/static/examples/${e.name}.jpg`, () => example(e)))));
}

async function reset() {
  live.stop();
  if (document.fullscreenElement === null && $("#kiosk-full").dataset.used) $("#kiosk-full").hidden = false;
  if (first && first.id !== shared.portrait?.id) take(first); else feel(null);
  whole();
  touched();
}

export function begin() {
  for (const name of FEELINGS) $("#kiosk-feelings").append(make("button", { class: "button big", "data-feeling": name, "aria-pressed": "false", text: named("emotion", name, name), onclick: () => feel(name) }));
  $("#kiosk-live").addEventListener("click", () => (live.running() ? (live.stop(), feel(null)) : live.start()));
  $("#kiosk-settle").addEventListener("click", live.settle);
  $("#kiosk-full").addEventListener("click", (e) => { e.currentTarget.dataset.used = "1"; document.documentElement.requestFullscreen?.().catch(() => {}); e.currentTarget.hidden = true; });
  const out = $("#kiosk-out");
  let held = null;
  const leave = () => { if (document.fullscreenElement) document.exitFullscreen(); location.hash = before ? "#express" : "#portrait"; };
  out.addEventListener("pointerdown", () => { held = setTimeout(leave, HOLD); out.classList.add("held"); });
  for (const end of ["pointerup", "pointerleave", "pointercancel"]) out.addEventListener(end, () => { clearTimeout(held); out.classList.remove("held"); });
  out.addEventListener("keydown", (e) => { if (e.key === "Enter" && e.shiftKey) leave(); });
  for (const event of ["pointerdown", "keydown"]) document.addEventListener(event, touched);
  on("live", (state) => {
    $("#kiosk-live").setAttribute("aria-pressed", Boolean(state));
    $("#kiosk-live").textContent = t(state ? "kiosk.stop" : "kiosk.live");
    $("#kiosk-settle").hidden = !state;
    $("#kiosk-words").textContent = state ? t(`live.${state}`) : t("kiosk.words");
    seen = state === "live";
    touched();
  });
  on("view", async (name) => {
    const here = name === "kiosk";
    if (here === document.body.classList.contains("kiosk")) return;
    document.body.classList.toggle("kiosk", here);
    if (here) {
      await work.flush();
      before = shared.portrait && { portrait: shared.portrait, face: shared.face };
      $("#kiosk-words").textContent = t("kiosk.words");
      offered();
      first = null;
      if (shared.portrait) feel(null); else await example(shared.offer.examples[0]);
      first = shared.portrait;
      touched();
    } else {
      clearTimeout(alone);
      live.stop();
      if (!before) { if (shared.portrait) work.begin(shared.portrait.name); return; }
      if (before.portrait.id !== shared.portrait.id) { Object.assign(shared, before); tell("portrait"); }
      tell("work");
    }
  });
}

// Playing: the scene of layers with its sounds, or the result that is on the stage, by one set of controls.

import { ask } from "./api.js";
import { asset } from "./assets.js";
import { on, shared, tell } from "./state.js";
import { $, able, dress, icon } from "./ui.js";
import { number, t } from "./words.js";
import { work } from "./project.js";
import * as stage from "./stage.js";
import * as view from "./view.js";

const video = $("#result");
const STEP = 0.1; // seconds between looks whether a sound is in time
export const clock = { time: 0, duration: 0, playing: false };
export let scene = null; // {duration, fps, layers: [{from, to, seconds}]} as the studio sees the layers
let from = 0, began = 0, frame = 0;
let looping = false, silent = false;
let sounds = []; // {audio, from, to, start, speed}
const spoken = new Map(); // what is said -> promise of a URL

export const plays = () => Boolean(view.presented());
const now = () => (plays() ? { time: video.currentTime, duration: video.duration || 0, playing: !video.paused } : clock);

// -- the sounds of a scene --------------------------------------------------------------------------------

function speech(layer) {
  const said = { say: layer.say, voice: layer.voice ?? "", voice_speed: layer.voice_speed ?? 1, voice_pitch: layer.voice_pitch ?? 0 };
  const key = JSON.stringify(said);
  if (!spoken.has(key)) {
    const asked = ask("/v1/speech", { method: "POST", headers: { "Content-Type": "application/json" }, body: key })
      .then((r) => r.blob()).then((b) => URL.createObjectURL(b));
    asked.catch(() => spoken.delete(key));
    spoken.set(key, asked);
    if (spoken.size > 20) {
      const [oldest, url] = spoken.entries().next().value;
      spoken.delete(oldest);
      url.then(URL.revokeObjectURL, () => {});
    }
  }
  return spoken.get(key);
}

async function gather() {
  const layers = work.layers, told = scene?.layers ?? [];
  const voiced = layers.some((l) => l.kind === "voice" && !l.off);
  const heard = layers.map((l, i) => ({ l, place: told[i] })).filter(({ l, place }) => place && !l.off
    && (l.kind === "voice" || (l.kind === "performance" && asset(l.asset)?.sound && (l.sound ?? !voiced))));
  return (await Promise.all(heard.map(async ({ l, place }) => {
    const url = l.say ? await speech(l).catch(() => null) : `/v1/performances/${l.asset}/file`;
    if (!url) return null;
    const audio = new Audio(url);
    audio.preservesPitch = true;
    audio.volume = Math.min(1, l.volume ?? 1);
    audio.playbackRate = Math.min(4, Math.max(0.25, l.speed ?? 1));
    audio.loop = Boolean(l.loop);
    return { audio, from: place.from, to: place.to, start: l.start ?? 0, speed: l.speed ?? 1, loop: l.loop };
  }))).filter(Boolean);
}

function sound(time) {
  for (const s of sounds) {
    s.audio.muted = silent;
    const inside = time >= s.from && time < s.to;
    if (!inside) { s.audio.pause(); continue; }
    let wanted = s.start + (time - s.from) * s.speed;
    if (s.loop && s.audio.duration) wanted %= s.audio.duration;
    // One that begins does so at its place; one that plays is moved only where that is heard less than its being late.
    if (Math.abs(s.audio.currentTime - wanted) > (s.audio.paused ? 0.03 : 0.15)) s.audio.currentTime = wanted;
    if (s.audio.paused) s.audio.play().catch(() => {});
  }
}

const quiet = () => { for (const s of sounds) s.audio.pause(); sounds = []; };

// -- the clock --------------------------------------------------------------------------------------------

function tick() {
  if (!clock.playing) return;
  clock.time = began ? Math.min(clock.duration, from + (performance.now() - began) / 1000) : from;
  if (began && Math.abs(clock.time - (tick.heard ?? -1)) > STEP) { tick.heard = clock.time; sound(clock.time); }
  show();
  frame = requestAnimationFrame(tick);
}

export async function play() {
  if (plays()) { await video.play().catch(() => {}); return; }
  if (!clock.duration) return;
  from = clock.time >= clock.duration - 0.05 ? 0 : clock.time;
  clock.time = from;
  clock.playing = true;
  began = 0; // with the first picture
  tick.heard = undefined;
  cancelAnimationFrame(frame);
  quiet();
  stage.run(from);
  tick();
  const mine = await gather();
  if (clock.playing) sounds = mine;
  show();
}

export function pause() {
  if (plays()) { video.pause(); return; }
  if (!clock.playing) return;
  clock.playing = false;
  quiet();
  stage.at(clock.time);
  show();
}

export function seek(time) {
  if (plays()) { video.currentTime = Math.min(time, video.duration || 0); return; }
  const was = clock.playing;
  if (was) { clock.playing = false; quiet(); }
  clock.time = Math.min(Math.max(0, time), clock.duration);
  if (clock.duration) stage.at(clock.time);
  show();
  tell("sought", clock.time);
}

// Stand at a time where something new is to be put, though the scene may not last that long yet.
export function park(time) {
  clock.time = time;
  stage.at(Math.min(time, clock.duration));
  show();
}

export const toggle = () => (now().playing ? pause() : play());

// -- what it looks like -----------------------------------------------------------------------------------

export function show() {
  const { time, duration, playing } = now();
  const scrub = $("#scrub");
  scrub.max = Math.max(0.1, duration);
  if (document.activeElement !== scrub || !scrub.matches(":active")) scrub.value = time;
  scrub.show?.();
  $("#clock").textContent = t("player.clock", { time: number(time, 1), duration: number(duration, 1) });
  const button = $("#play");
  if (button.dataset.playing !== String(playing)) {
    button.dataset.playing = playing;
    button.replaceChildren(icon(playing ? "pause" : "play"));
    button.setAttribute("aria-label", t(playing ? "player.pause" : "player.play"));
  }
  able(button, duration > 0);
  const heard = plays() ? !video.muted : !silent;
  const mute = $("#mute");
  if (mute.dataset.heard !== String(heard)) {
    mute.dataset.heard = heard;
    mute.replaceChildren(icon(heard ? "sound" : "silent"));
    mute.setAttribute("aria-pressed", heard);
  }
  $("#loop-play").setAttribute("aria-pressed", plays() ? video.loop : looping);
  tell("clock", time);
}

export function begin() {
  $("#play").addEventListener("click", toggle);
  dress($("#scrub"), (v) => t("player.seconds", { seconds: number(v, 1) })).addEventListener("input", (e) => seek(Number(e.target.value)));
  $("#mute").addEventListener("click", () => {
    if (plays()) video.muted = !video.muted;
    else { silent = !silent; sound(clock.time); if (!clock.playing) quiet(); }
    show();
  });
  $("#loop-play").addEventListener("click", () => {
    if (plays()) video.loop = !video.loop;
    else looping = !looping;
    show();
  });
  $("#to-start").addEventListener("click", () => seek(0));
  on("running", () => { if (clock.playing && !began) began = performance.now(); });
  on("ran", () => {
    if (!clock.playing) return;
    clock.time = clock.duration;
    clock.playing = false;
    quiet();
    if (looping) { clock.time = 0; play(); } else show();
  });
  on("scene", (found) => {
    if (found.error) return;
    scene = found;
    const within = clock.time <= clock.duration; // else it stands where something new is to be put
    clock.duration = found.duration;
    if (within) clock.time = Math.min(clock.time, found.duration);
    show();
  });
  on("unseen", () => { if (clock.playing) pause(); });
  on("transport", show);
  on("presented", (what) => {
    if (what && clock.playing) { clock.playing = false; quiet(); }
    show();
  });
  show();
  document.addEventListener("keydown", (e) => {
    if (e.key !== " " || e.target.closest("button, a, input, textarea, select, summary, [role=slider], dialog") || !shared.portrait) return;
    if ($("#studio").hidden || shared.view === "live") return;
    e.preventDefault();
    toggle();
  });
}

// Without layers there is nothing to play.
export function empty() {
  scene = null;
  clock.playing = false;
  clock.time = clock.duration = 0;
  quiet();
  show();
}


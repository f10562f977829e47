// Who performs: every choice here is a layer of the timeline.

import { formOf, post } from "./api.js";
import * as assets from "./assets.js";
import { shared, on } from "./state.js";
import { $, $$, camera, dress, drops, instead, make, sayError, stopTracks, tablist } from "./ui.js";
import { named, number, percent, t } from "./words.js";
import { project, rename, work } from "./project.js";
import * as player from "./player.js";
import * as timeline from "./timeline.js";

const LATER = 450; // ms after a letter until a text is looked at
// What the face is told is English, whatever the language of the page.
const IDEAS = ["She smiles, then looks surprised", "He nods and winks", "A sad, tired look", "Raise the brows and open the mouth"];
const DIRECTIONS = ["smiles", "nods", "raises eyebrows", "looks sad", "winks", "pause"];
let kind = "motion";
let stream = null, recorder = null;
let another = false; // the next choice is a new layer
let typing = null;
let ready = false; // whether the scene is to be played once it has come
let tabs = null;

// Of a group, whether a layer is of the face that is chosen.
const mine = (l) => !l.face || l.face === shared.face;
const heard = (l) => l.kind === "voice";
const performed = (l) => l.kind === "performance";

// Replace the source of the chosen layer of this kind, or put a new one on the timeline.
function put(fields, like, { hear = true } = {}) {
  const chosen = timeline.current();
  ready = hear;
  if (!another && chosen && like(chosen) && mine(chosen)) {
    timeline.set(chosen.uid, { motion: null, asset: null, say: null, text: null, voice: null, voice_speed: null, voice_pitch: null, start: null, end: null, reference: null, ...fields });
    return chosen;
  }
  const first = !work.layers.some((l) => like(l) && mine(l));
  another = false;
  return timeline.add(fields, { at: first ? 0 : player.clock.time });
}

export function begin() {
  const { offer } = shared;
  for (const m of offer.motions) {
    $("#motions").append(make("button", { class: "motion", "aria-pressed": "false", "data-motion": m.name, onclick: () => put({ kind: "performance", motion: m.name, name: named("motion", m.name, m.label) }, performed) },
      named("motion", m.name, m.label), make("small", { text: `${number(m.seconds, 1)} s` })));
  }
  $('[data-driver="text"]').hidden = !offer.text;
  $('[data-driver="speech"]').hidden = $('[data-driver="say"]').hidden = !offer.speech;
  IDEAS.forEach((idea, i) => $("#text-ideas").append(make("button", { class: "chip", text: t(`idea.${i + 1}`), onclick: () => { $("#text").value = idea; typed("text"); } })));
  $("#say-none").hidden = offer.voices.length > 0;
  const names = new Intl.DisplayNames([document.documentElement.lang], { type: "language", fallback: "none" });
  for (const v of offer.voices) $("#say-voice").append(make("option", { value: v.name, text: spelled(names, v) }));
  for (const word of DIRECTIONS) {
    $("#say-ideas").append(make("button", { class: "chip", text: t(`direction.${word}`), onclick: () => direct(word) }));
  }
  dress($("#say-speed"), (v) => percent(v));
  dress($("#say-pitch"), (v) => `${v > 0 ? "+" : ""}${v}`);
  for (const id of ["say", "say-voice", "say-speed", "say-pitch"]) $(`#${id}`).addEventListener("input", () => typed("say"));
  $("#text").addEventListener("input", () => typed("text"));
  tabs = tablist($("#drivers"), (tab) => { kind = tab.dataset.driver; stopRecording(); });
  const taking = (id, drop) => {
    $(id).addEventListener("change", (e) => { if (e.target.files[0]) take(e.target.files[0]); e.target.value = ""; });
    drops($(drop), take);
  };
  taking("#video-file", "#video-drop");
  taking("#voice-file", "#voice-drop");
  $("#rec-start").addEventListener("click", () => record(true));
  $("#voice-start").addEventListener("click", () => record(false));
  for (const id of ["#rec-stop", "#voice-stop"]) $(id).addEventListener("click", () => recorder?.stop());
  $("#layer-add").addEventListener("click", () => {
    another = true;
    timeline.select(null);
    location.hash = "#drive";
    $('#drivers [aria-selected="true"]').focus();
  });
  on("performances", () => assets.show($("#own"), useAsset));
  on("scene", (found) => { if (ready && !found.error) { ready = false; player.seek(0); player.play(); } });
  on("selected", chosen);
  on("misunderstood", (what) => { for (const id of ["#say-problem", "#text-problem"]) $(id).textContent = what?.text ?? ""; });
  on("view", (name) => { if (name !== "drive") stopRecording(); else chosen(); });
  on("portrait", () => { another = false; });
}

// The language of a voice in the language of the page, where the browser knows it; then what the voice's own name adds.
function spelled(names, voice) {
  const [, language, region, rest] = /^espeak:([a-z]{2,3})(-[a-z]{2}$)?(-.+)?$/.exec(voice.name) ?? [];
  if (!language) return voice.label;
  try {
    const found = names.of(language + (region ?? ""));
    const detail = rest && /\((.+)\)$/.exec(voice.label)?.[1];
    return found ? found + (detail ? ` (${detail})` : "") : voice.label;
  } catch { return voice.label; }
}

// Show the source of the chosen layer where it was chosen.
function chosen() {
  const l = timeline.current();
  for (const b of $$("#motions .motion")) b.setAttribute("aria-pressed", Boolean(l?.motion) && b.dataset.motion === l.motion);
  if (document.activeElement === $("#say") || document.activeElement === $("#text")) return;
  const tab = l?.motion ? "motion" : l && "say" in l ? "say" : l?.kind === "words" ? "text" : null;
  if (tab) tabs($(`[data-driver="${tab}"]`));
  if (!another || l) {
    $("#say").value = l?.say ?? "";
    $("#text").value = l?.kind === "words" ? l.text ?? "" : "";
    if (l && "say" in l) {
      $("#say-voice").value = l.voice ?? "";
      $("#say-speed").value = l.voice_speed ?? 1;
      $("#say-pitch").value = l.voice_pitch ?? 0;
      for (const id of ["#say-speed", "#say-pitch"]) $(id).show();
    }
  }
}

function typed(what) {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const text = $(`#${what}`).value.trim();
    const like = what === "say" ? (l) => "say" in l : (l) => l.kind === "words";
    const l = mine(timeline.current() ?? {}) ? timeline.current() : null;
    if (!text) { if (l && like(l)) timeline.drop(l.uid); return; }
    if (what === "say" && !shared.offer.voices.length) return;
    const usual = (id, value) => (Number($(id).value) === value ? null : Number($(id).value));
    const fields = what === "text" ? { text }
      : { say: text, voice: $("#say-voice").value || null, voice_speed: usual("#say-speed", 1), voice_pitch: usual("#say-pitch", 0) };
    const clean = Object.fromEntries(Object.entries(fields).filter(([, v]) => v !== null));
    if (l && like(l)) timeline.set(l.uid, fields, `typed ${l.uid}`);
    else put({ kind: what === "say" ? "voice" : "words", ...clean }, like, { hear: false });
    if (project.name === shared.portrait.name && what === "say") rename(`${shared.portrait.name}: ${inShort(text)}`.slice(0, 80));
  }, LATER);
}

// The beginning of what is said, in whole words.
function inShort(text) {
  const said = text.replace(/\[[^\]]*\]/g, " ").replace(/\s+/g, " ").trim();
  return said.length <= 40 ? said : `${said.slice(0, 40).replace(/\s\S*$/, "")} …`;
}

// Put a stage direction where the cursor is.
function direct(word) {
  const area = $("#say");
  const before = area.value.slice(0, area.selectionStart);
  const after = area.value.slice(area.selectionEnd);
  const space = `${before && !/\s$/.test(before) ? " " : ""}[${word}]${/^\s/.test(after) ? "" : " "}`;
  area.setRangeText(space, area.selectionStart, area.selectionEnd, "end");
  area.focus();
  typed("say");
}

export async function take(file) {
  const found = await assets.handIn(file, file.name.replace(/\.[^.]+$/, ""), $("#source-progress"));
  if (found) useAsset(found);
}

function useAsset(found) {
  const sounds = assets.isSound(found);
  put({ kind: sounds ? "voice" : "performance", asset: found.id, name: found.name }, sounds ? heard : performed);
}

// -- recording --------------------------------------------------------------------------------------------

async function record(pictures) {
  try {
    stream = await camera(pictures ? { video: { width: { ideal: 640 }, facingMode: "user" }, audio: $("#rec-sound").checked } : { audio: true });
  } catch (error) { sayError(error); return; }
  const [start, stop] = pictures ? [$("#rec-start"), $("#rec-stop")] : [$("#voice-start"), $("#voice-stop")];
  const look = $("#rec-view");
  if (pictures) {
    look.hidden = false;
    look.srcObject = stream;
    look.play();
  }
  const mine = (recorder = recording(stream, pictures, async (file) => {
    stopTracks(stream);
    instead(stop, start);
    look.hidden = true;
    look.srcObject = null;
    recorder = null;
    if (file.size) take(file);
  }));
  instead(start, stop);
  setTimeout(() => { if (mine.state === "recording") mine.stop(); }, 60000);
}

// A recorder of a stream that hands its file to `done`.
export function recording(source, pictures, done) {
  const chunks = [], it = new MediaRecorder(source);
  it.ondataavailable = (e) => chunks.push(e.data);
  it.onstop = () => {
    const type = it.mimeType.split(";")[0], clock = new Date().toTimeString().slice(0, 5).replace(":", ".");
    const ending = type.includes("mp4") ? (pictures ? "mp4" : "m4a") : "webm";
    done(new File(chunks, `${t(pictures ? "record.take" : "record.voice", { clock })}.${ending}`, { type }));
  };
  it.start();
  return it;
}

function stopRecording() {
  if (recorder?.state === "recording") recorder.stop();
}

// A finished animation becomes a performance of one's own.
export async function fromAnimation(id, name) {
  try { useAsset(await post("/v1/performances", formOf({ animation: id, name }))); } catch (error) { sayError(error); return; }
  assets.list();
}



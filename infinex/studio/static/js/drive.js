// Somebody else's performance moves the portrait.

import { on, shared } from "./state.js";
import { $, $$, camera, dress, drops, make, sayError, stopTracks, tablist, toast } from "./ui.js";
import * as stage from "./stage.js";
import { common, makeIn } from "./job.js";

let kind = "motion";
let motion = null;
let video = null; // File
let videoUrl = null;
let recorded = null;
let recordedUrl = null;
let voice = null;
let stream = null;
let recorder = null;

export function begin() {
  const { offer } = shared;
  for (const m of offer.motions) {
    $("#motions").append(make("button", { class: "motion", "aria-pressed": "false", "data-motion": m.name, onclick: () => choose(m.name) },
      m.label, make("small", { text: `${m.seconds.toFixed(1)} s` })));
  }
  $('[data-driver="text"]').hidden = !offer.text;
  $('[data-driver="speech"]').hidden = !offer.speech;
  for (const idea of ["She smiles, then looks surprised", "He nods and winks", "A sad, tired look", "Raise the brows and open the mouth"]) {
    $("#text-ideas").append(make("button", { class: "chip", text: idea, onclick: () => { $("#text").value = idea; ready(); } }));
  }
  $('[data-driver="say"]').hidden = !offer.speech;
  $("#say-none").hidden = offer.voices.length > 0;
  for (const v of offer.voices) $("#say-voice").append(make("option", { value: v.name, text: v.label }));
  for (const word of ["smiles", "nods", "raises eyebrows", "looks sad", "winks", "pause"]) {
    $("#say-ideas").append(make("button", { class: "chip", text: `[${word}]`, onclick: () => direct(word) }));
  }
  $("#say").addEventListener("input", ready);
  dress($("#say-speed"), (v) => `${Math.round(100 * v)} %`);
  dress($("#say-pitch"), (v) => `${v > 0 ? "+" : ""}${v}`);
  for (const e of offer.engines) $("#engine").append(make("option", { value: e.name, text: e.label }));
  $("#engine-row").hidden = offer.engines.length < 2;
  tablist($("#drivers"), (tab) => {
    kind = tab.dataset.driver;
    if (kind !== "motion") stage.close();
    else if (motion) stage.play(motion);
    stopRecording();
    ready();
  });
  $("#video-file").addEventListener("change", (e) => { if (e.target.files[0]) takeVideo(e.target.files[0]); e.target.value = ""; });
  drops($("#video-drop"), takeVideo);
  $("#voice-file").addEventListener("change", (e) => { if (e.target.files[0]) takeVoice(e.target.files[0]); e.target.value = ""; });
  drops($("#voice-drop"), takeVoice);
  $("#rec-start").addEventListener("click", () => record(true));
  $("#voice-start").addEventListener("click", () => record(false));
  for (const id of ["#rec-stop", "#voice-stop"]) $(id).addEventListener("click", () => recorder?.stop());
  $("#text").addEventListener("input", ready);
  dress($("#strength"), (v) => `${Math.round(100 * v)} %`);
  dress($("#smooth"), (v) => `${Math.round(100 * v)} %`);
  $("#make").addEventListener("click", run);
  on("portrait", () => { $("#job").replaceChildren(); $("#all-faces-row").hidden = shared.portrait.faces.length < 2; ready(); });
  on("view", (name) => {
    if (name === "drive" && shared.portrait) { if (kind === "motion" && motion) stage.play(motion); ready(); }
    if (name !== "drive") stopRecording();
  });
}

// Put a stage direction where the cursor is.
function direct(word) {
  const area = $("#say");
  const before = area.value.slice(0, area.selectionStart);
  const after = area.value.slice(area.selectionEnd);
  const put = `${before && !/\s$/.test(before) ? " " : ""}[${word}]${/^\s/.test(after) ? "" : " "}`;
  area.setRangeText(put, area.selectionStart, area.selectionEnd, "end");
  area.focus();
  ready();
}

function choose(name) {
  motion = name;
  for (const b of $$("#motions .motion")) b.setAttribute("aria-pressed", b.dataset.motion === name);
  stage.play(name);
  ready();
}

function takeVideo(file) {
  if (file.size > shared.offer.limits.upload) { toast(`That is too large; at most ${shared.offer.limits.upload >> 20} MB.`); return; }
  video = file;
  URL.revokeObjectURL(videoUrl);
  videoUrl = file.type.startsWith("video/") ? URL.createObjectURL(file) : null;
  $("#video-name").textContent = file.name;
  const view = $("#video-view");
  view.hidden = !videoUrl;
  if (videoUrl) view.src = videoUrl;
  ready();
}

function takeVoice(file) {
  voice = file;
  $("#voice-name").textContent = file.name;
  const view = $("#voice-view");
  view.src = URL.createObjectURL(file);
  view.hidden = false;
  ready();
}

async function record(pictures) {
  try {
    stream = await camera(pictures ? { video: { width: { ideal: 640 }, facingMode: "user" }, audio: false } : { audio: true });
  } catch (error) { sayError(error); return; }
  const [start, stop] = pictures ? [$("#rec-start"), $("#rec-stop")] : [$("#voice-start"), $("#voice-stop")];
  const view = $("#rec-view");
  if (pictures) {
    view.hidden = false;
    view.controls = false;
    view.removeAttribute("src");
    view.srcObject = stream;
    view.play();
  }
  const chunks = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (e) => chunks.push(e.data);
  recorder.onstop = () => {
    stopTracks(stream);
    start.hidden = false;
    stop.hidden = true;
    const type = recorder.mimeType.split(";")[0];
    const file = new File(chunks, pictures ? `recording.${type.includes("mp4") ? "mp4" : "webm"}` : `voice.${type.includes("mp4") ? "m4a" : "webm"}`, { type });
    recorder = null;
    if (!file.size) return;
    if (pictures) {
      recorded = file;
      URL.revokeObjectURL(recordedUrl);
      recordedUrl = URL.createObjectURL(file);
      view.srcObject = null;
      view.src = recordedUrl;
      view.controls = true;
      start.textContent = "Record again";
      ready();
    } else takeVoice(file);
  };
  recorder.start();
  start.hidden = true;
  stop.hidden = false;
  const mine = recorder;
  setTimeout(() => { if (mine.state === "recording") mine.stop(); }, 30000);
}

function stopRecording() {
  if (recorder?.state === "recording") recorder.stop();
  stopTracks(stream);
}

function driver() {
  return {
    motion: motion && { motion, label: shared.offer.motions.find((m) => m.name === motion)?.label },
    video: video && { driving: video, label: video.name },
    camera: recorded && { driving: recorded, label: "Recording" },
    text: $("#text").value.trim() && { text: $("#text").value.trim(), label: $("#text").value.trim().slice(0, 60) },
    say: shared.offer.voices.length && $("#say").value.trim() && {
      say: $("#say").value.trim(), label: $("#say").value.trim().slice(0, 60),
      voice: $("#say-voice").value, voice_speed: $("#say-speed").value, voice_pitch: $("#say-pitch").value,
    },
    speech: voice && { speech: voice, label: voice.name },
  }[kind];
}

const ready = () => { $("#make").disabled = !(driver() && shared.portrait); };

export function options() {
  const parts = $$('[name="part"]:checked').map((c) => c.value).join(",");
  return {
    parts, strength: $("#strength").value, smooth: $("#smooth").value, absolute: $("#exact").checked,
    mouth: $("#borrow").checked ? "driver" : "auto", wrinkles: $("#folds").checked ? "driver" : "none",
    open_eyes: $("#wake").checked, audio: $("#sound").checked ? "keep" : "none", mark: $("#mark").checked, size: $("#size").value,
    engine: $("#engine").value || "mesh", start: $("#start").value, end: $("#end").value, loop: $("#loop").checked,
    background: $("#background").value, format: $("#background").value === "none" ? "webm" : "mp4",
  };
}

async function run() {
  if (!$$('[name="part"]:checked').length) { toast("Nothing would move: choose at least one part."); return; }
  for (const id of ["#start", "#end"]) if (!$(id).reportValidity()) return;
  const button = $("#make");
  button.disabled = true;
  stage.close();
  const face = $("#all-faces").checked && !$("#all-faces-row").hidden ? { face: "all" } : {};
  const fields = { ...common(), ...face, ...options(), ...driver() };
  const beside = kind === "video" ? videoUrl : kind === "camera" ? recordedUrl : null;
  const made = await makeIn($("#job"), fields, { beside });
  if (made) $("#job").scrollIntoView({ block: "nearest", behavior: "smooth" });
  ready();
}

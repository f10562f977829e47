// The camera moves the portrait; a take of it can be kept.

import { socket } from "./api.js";
import * as drive from "./drive.js";
import { on, shared, tell } from "./state.js";
import { $, $$, able, camera, dress, instead, make, sayError, stopTracks, toast } from "./ui.js";
import { number, percent, t } from "./words.js";
import { showLink } from "./exporting.js";
import * as stage from "./stage.js";
import * as view from "./view.js";

const WIDTH = 400; // of the frames that are sent
let stream = null;
let line = null;
let sent = []; // when each frame that is under way was taken
let frames = []; // when the last pictures came
let delays = [];
const grab = document.createElement("canvas");
let recorder = null; // of a take
let voice = null; // the microphone's stream, for a take
export const running = () => Boolean(line);
export const figures = () => {
  const seconds = (frames[frames.length - 1] - frames[0]) / 1000;
  const sorted = [...delays].sort((a, b) => a - b);
  return { fps: frames.length > 1 ? (frames.length - 1) / seconds : 0, delay: sorted[Math.floor(sorted.length / 2)] ?? 0, frames: frames.length };
};

export function begin() {
  $("#live-start").addEventListener("click", () => start());
  $("#live-stop").addEventListener("click", stop);
  $("#live-settle").addEventListener("click", settle);
  dress($("#live-strength"), (v) => percent(v)).addEventListener("input", () => tellOptions());
  for (const box of $$('[name="live-part"]')) box.addEventListener("change", () => tellOptions());
  $("#live-borrow").addEventListener("change", () => tellOptions());
  $("#live-mirror").addEventListener("change", mirror);
  $("#live-camera").addEventListener("change", () => { if (running()) { stop(); start(); } });
  $("#take-start").addEventListener("click", takeStart);
  $("#take-stop").addEventListener("click", () => recorder?.stop());
  $("#class-open").addEventListener("click", join);
  on("view", (name) => { if (!["live", "kiosk"].includes(name)) stop(); });
  on("portrait", stop);
  on("face", stop);
  on("unseen", () => { if (recorder?.state !== "recording") stop(); });
  navigator.mediaDevices?.addEventListener?.("devicechange", cameras);
}

const mirror = () => $("#live-view").classList.toggle("mirror", $("#live-mirror").checked);
export const settle = () => tellOptions({ settle: true });

// The cameras there are; their names are told once one was allowed.
async function cameras() {
  const found = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === "videoinput");
  const select = $("#live-camera"), now = stream?.getVideoTracks()[0]?.getSettings().deviceId ?? select.value;
  select.replaceChildren(...found.map((d, i) => make("option", { value: d.deviceId, text: d.label || t("live.camera.number", { number: i + 1 }) })));
  if (found.some((d) => d.deviceId === now)) select.value = now;
  $("#live-camera-row").hidden = found.length < 2;
}

// A class joins by the address of this page, with the token where the studio has one.
function join() {
  const show = (token) => {
    const url = new URL(shared.offer.join ?? location.href);
    url.hash = "";
    if (token) url.searchParams.set("token", token);
    showLink(url.href, t("class.title"), t("class.hint"));
    if (shared.offer.join) return;
    const input = make("input", { type: "text", value: token, autocomplete: "off" });
    input.addEventListener("change", () => show(input.value.trim()));
    $("#link-body").append(make("label", { class: "field" }, make("span", { text: t("class.token") }), input));
  };
  show("");
}

// -- a take ------------------------------------------------------------------------------------------------

async function takeStart() {
  if (!stream) return;
  if ($("#take-sound").checked) {
    try { voice = await camera({ audio: true }); } catch (error) { sayError(error); return; }
  }
  const both = new MediaStream([...stream.getVideoTracks(), ...(voice?.getAudioTracks() ?? [])]);
  recorder = drive.recording(both, true, async (file) => {
    stopTracks(voice);
    voice = recorder = null;
    instead($("#take-stop"), $("#take-start"));
    if (!file.size) return;
    location.hash = "#drive";
    drive.take(file);
  });
  instead($("#take-start"), $("#take-stop"));
}

// -- the line ----------------------------------------------------------------------------------------------

function tellOptions(extra = {}) {
  if (line?.readyState !== WebSocket.OPEN) return;
  line.send(JSON.stringify({ strength: Number($("#live-strength").value), parts: $$('[name="live-part"]:checked').map((c) => c.value), borrow: $("#live-borrow").checked, ...extra }));
}

export async function start() {
  const button = $("#live-start"), wanted = $("#live-camera").value;
  able(button, false);
  try {
    stream = await camera({ video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, ...(wanted ? { deviceId: { exact: wanted } } : { facingMode: "user" }) } });
  } catch (error) { sayError(error); able(button, true); return; }
  cameras();
  const look = $("#live-view");
  look.srcObject = stream;
  look.hidden = false;
  mirror();
  await look.play();
  stage.close();
  view.dismiss();
  stage.busyWith(t("stage.preparing"));
  frames = [];
  delays = [];
  sent = [];
  const told = (message) => {
    if (mine !== line) return;
    if (message.ready) {
      stage.busyWith("");
      instead(button, $("#live-stop"));
      for (const id of ["#live-settle", "#take-row"]) $(id).hidden = false;
      tellOptions();
      send();
      send();
    } else if (message.state) {
      $("#live-status").textContent = t(`live.${message.state}`);
      tell("live", message.state);
    } else if (message.error) { toast(message.error); if (!frames.length) stop(); else { sent.shift(); send(); } }
  };
  const shown = async (picture) => {
    if (mine !== line) return;
    const taken = sent.shift();
    send(); // the next frame travels while this one is painted
    if (picture.byteLength) {
      await stage.paint(picture);
      const now = performance.now();
      frames.push(now);
      delays.push(now - taken);
      if (frames.length > 90) { frames.shift(); delays.shift(); }
      const { fps, delay } = figures();
      if (frames.length % 6 === 0) $("#live-meter").textContent = t("live.meter", { fps: number(fps), delay: number(delay) });
    }
  };
  const mine = (line = socket("/studio/live", stage.hello(), told, shown));
  mine.onclose = (e) => { if (mine === line) { if (e.reason) toast(e.reason); stop(); } };
}

function send() {
  const view = $("#live-view");
  const mine = line;
  if (!mine || mine.readyState !== WebSocket.OPEN || sent.length >= 2 || !view.videoWidth) return;
  const now = performance.now();
  sent.push(now);
  grab.width = WIDTH;
  grab.height = Math.round((WIDTH * view.videoHeight) / view.videoWidth);
  const context = grab.getContext("2d", { alpha: false });
  if ($("#live-mirror").checked) context.setTransform(-1, 0, 0, 1, WIDTH, 0); // as a mirror shows it
  context.drawImage(view, 0, 0, grab.width, grab.height);
  grab.toBlob((blob) => { if (mine === line && mine.readyState === WebSocket.OPEN) mine.send(blob); }, "image/jpeg", 0.85);
}

export function stop() {
  if (recorder?.state === "recording") recorder.stop();
  if (!line && !stream) return;
  const old = line;
  line = null;
  old?.close();
  stopTracks(stream);
  stream = null;
  stage.busyWith("");
  $("#live-view").hidden = true;
  able($("#live-start"), true);
  instead($("#live-stop"), $("#live-start"));
  for (const id of ["#live-settle", "#take-row"]) $(id).hidden = true;
  $("#live-status").textContent = "";
  $("#live-meter").textContent = "";
  tell("live", null);
}

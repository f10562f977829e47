// The camera moves the portrait.

import { socket } from "./api.js";
import { on, shared } from "./state.js";
import { $, $$, camera, dress, sayError, stopTracks, toast } from "./ui.js";
import * as stage from "./stage.js";

const WIDTH = 400; // of the frames that are sent
let stream = null;
let line = null;
let sent = []; // when each frame that is under way was taken
let frames = []; // when the last pictures came
let delays = [];
const grab = document.createElement("canvas");
const STATES = {
  settling: "Look straight ahead, mouth closed…",
  live: "You are live.",
  lost: "No face is seen. Move into the picture.",
};
export const figures = () => {
  const seconds = (frames[frames.length - 1] - frames[0]) / 1000;
  const sorted = [...delays].sort((a, b) => a - b);
  return { fps: frames.length > 1 ? (frames.length - 1) / seconds : 0, delay: sorted[Math.floor(sorted.length / 2)] ?? 0, frames: frames.length };
};

export function begin() {
  $("#live-start").addEventListener("click", start);
  $("#live-stop").addEventListener("click", stop);
  $("#live-settle").addEventListener("click", () => tellOptions({ settle: true }));
  dress($("#live-strength"), (v) => `${Math.round(100 * v)} %`).addEventListener("input", () => tellOptions());
  for (const box of $$('[name="live-part"]')) box.addEventListener("change", () => tellOptions());
  $("#live-borrow").addEventListener("change", () => tellOptions());
  on("view", (name) => { if (name !== "live") stop(); });
  on("portrait", stop);
  on("face", stop);
}

function tellOptions(extra = {}) {
  if (line?.readyState !== WebSocket.OPEN) return;
  line.send(JSON.stringify({ strength: Number($("#live-strength").value), parts: $$('[name="live-part"]:checked').map((c) => c.value), borrow: $("#live-borrow").checked, ...extra }));
}

async function start() {
  const button = $("#live-start");
  button.disabled = true;
  try {
    stream = await camera({ video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" } });
  } catch (error) { sayError(error); button.disabled = false; return; }
  const view = $("#live-view");
  view.srcObject = stream;
  view.hidden = false;
  await view.play();
  stage.close();
  stage.busyWith("Preparing the portrait…");
  frames = [];
  delays = [];
  sent = [];
  const told = (message) => {
    if (mine !== line) return;
    if (message.ready) {
      stage.busyWith("");
      button.hidden = true;
      $("#live-stop").hidden = $("#live-settle").hidden = false;
      tellOptions();
      send();
      send();
    } else if (message.state) $("#live-status").textContent = STATES[message.state] ?? "";
    else if (message.error) { toast(message.error); if (!frames.length) stop(); else { sent.shift(); send(); } }
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
      if (frames.length % 6 === 0) $("#live-meter").textContent = `${fps.toFixed(0)} pictures a second, ${delay.toFixed(0)} ms behind you`;
    }
  };
  const mine = (line = socket("/studio/live", { portrait: shared.portrait.id, face: shared.face }, told, shown));
  mine.onclose = () => { if (mine === line) stop(); };
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
  context.setTransform(-1, 0, 0, 1, WIDTH, 0); // as a mirror shows it
  context.drawImage(view, 0, 0, grab.width, grab.height);
  grab.toBlob((blob) => { if (mine === line && mine.readyState === WebSocket.OPEN) mine.send(blob); }, "image/jpeg", 0.85);
}

function stop() {
  const old = line;
  line = null;
  old?.close();
  stopTracks(stream);
  stream = null;
  stage.busyWith("");
  $("#live-view").hidden = true;
  $("#live-start").hidden = false;
  $("#live-start").disabled = false;
  $("#live-stop").hidden = $("#live-settle").hidden = true;
  $("#live-status").textContent = "";
  $("#live-meter").textContent = "";
}

// The picture in the middle: a socket that draws expressions, and scenes of layers at any time.

import { socket } from "./api.js";
import { shared, on, tell } from "./state.js";
import { $, toast } from "./ui.js";
import { t } from "./words.js";

const canvas = $("#canvas");
const context = canvas.getContext("2d", { alpha: false });
const busy = $("#busy");

let line = null; // the open socket
let ready = false;
let scene = null; // the document that is to be shown, and whether the socket has it
let everyone = false; // whether layers without a face move all of a group
let known = false;
let wrong = false; // whether the studio cannot show the scene it was told last
let waiting = null; // the newest picture that has not been asked for
let inFlight = null; // what the socket has not answered: "scene", "picture"
let seq = 0;
let sentAt = 0;
let running = null; // number of the run whose pictures come by themselves
let begun = 0; // number of the run whose first picture has come
let retry = 0;
export const latencies = []; // milliseconds from a change to its picture, the last 200

export function busyWith(text) {
  busy.classList.toggle("on", Boolean(text));
  $("#busy-text").textContent = text || "";
}

function resize(width, height) {
  canvas.width = width;
  canvas.height = height;
  $("#frame").style.setProperty("--ratio", width / height);
  tell("ratio");
}

export async function paint(data) {
  const bitmap = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) resize(bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
}

function say(message) {
  seq += 1;
  line.send(JSON.stringify({ ...message, seq }));
}

function flush() {
  if (!ready || inFlight) return;
  if (scene && !known) {
    known = true;
    wrong = false;
    inFlight = "scene";
    say({ layers: scene, ...(everyone ? { everyone } : {}) });
    return;
  }
  if (wrong && waiting && ("at" in waiting || "run" in waiting)) waiting = null; // what is wrong was told already
  if (!waiting) return;
  const { asked, ...message } = waiting;
  waiting = null;
  sentAt = asked;
  say(message);
  if ("run" in message) running = seq;
  else inFlight = "picture";
}

function want(message) {
  running = null;
  waiting = { ...message, asked: performance.now() };
  open();
  flush();
}

// Show an expression alone: {units, yaw, pitch, roll, right, down}.
export const express = (expression) => want(expression);
// Layers that combine; null where there are none.
export function layers(document, all = false) {
  scene = document;
  everyone = all;
  known = wrong = false;
  if (scene) { open(); flush(); }
}
// One picture of the scene, or all of them from a time on.
export const at = (seconds) => want({ at: seconds });
export const run = (seconds) => want({ run: seconds });

// What a socket is told first: whose face, and how many pixels of the screen its pictures are to fill.
const STEP = 128;
export function hello() {
  const { clientWidth, clientHeight } = $("#frame");
  const shown = Math.ceil((Math.max(clientWidth, clientHeight) * devicePixelRatio) / STEP) * STEP;
  const most = shared.offer.limits.sharpest;
  return { portrait: shared.portrait.id, face: shared.face, ...(most ? { side: Math.min(most, Math.max(shared.offer.limits.preview, shown)) } : {}) };
}

export function open() {
  if (line || !shared.portrait) return;
  ready = false;
  inFlight = null;
  busyWith(t("stage.preparing"));
  const told = (message) => {
    if (mine !== line) return;
    if (message.ready) {
      ready = true;
      retry = 0;
      busyWith("");
    } else if (message.scene) {
      inFlight = null;
      busyWith("");
      if (known) tell("scene", message.scene); // else it has changed meanwhile
    } else if (message.working) {
      busyWith(t("stage.reading"));
      return;
    } else if ("ended" in message) {
      if (message.ended === running) { running = null; tell("ran"); }
    } else if (message.error) {
      const about = inFlight === "scene" ? "scene" : "picture";
      inFlight = null;
      busyWith("");
      wrong = wrong || about === "scene";
      if (about === "scene") { if (known) tell("scene", { error: message.error }); }
      else toast(message.error);
    }
    flush();
  };
  const shown = async (picture) => {
    if (mine !== line) return;
    const number = new DataView(picture).getUint32(0, true);
    if (running !== null && number !== running) return;
    if (number === running && begun !== number) { begun = number; tell("running"); }
    await paint(picture.slice(4));
    if (mine !== line) return;
    if (number === seq && inFlight === "picture") {
      inFlight = null;
      latencies.push(performance.now() - sentAt);
      if (latencies.length > 200) latencies.shift();
    }
    flush();
  };
  const mine = (line = socket("/studio/express", hello(), told, shown));
  mine.onclose = (e) => {
    if (mine !== line) return;
    line = null;
    ready = known = false;
    inFlight = running = null;
    busyWith("");
    if (e.code === 1006) tell("silent");
    if (retry++ < 3 && shared.portrait && waiting && e.code !== 1006) setTimeout(open, 800 * retry);
    else if (e.reason && waiting) toast(e.reason);
  };
}

export function close() {
  const old = line;
  line = null;
  ready = known = false;
  waiting = inFlight = running = null;
  busyWith("");
  old?.close();
}

// The portrait as it is, until the first picture comes.
function showStill() {
  const image = $("#before");
  image.onload = () => {
    const k = Math.min(1, shared.offer.limits.preview / Math.max(image.naturalWidth, image.naturalHeight));
    resize(Math.max(2, Math.round(image.naturalWidth * k)), Math.max(2, Math.round(image.naturalHeight * k)));
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    tell("still");
  };
  image.src = `/v1/portraits/${shared.portrait.id}/image?side=1280`;
}

// A page that nobody sees gives up its seat after a while, and takes one again when it is seen.
const UNSEEN = 60_000; // ms
let leaving = null, left = false;
document.addEventListener("visibilitychange", () => {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(() => { left = Boolean(line); tell("unseen"); close(); }, UNSEEN);
  else if (left) { left = false; tell("seen"); }
});

on("portrait", () => {
  close();
  scene = null;
  if (shared.portrait) showStill();
});
on("face", close);

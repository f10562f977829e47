// The picture in the middle: a socket that draws expressions and plays performances on it.

import { socket } from "./api.js";
import { shared, on } from "./state.js";
import { $, toast } from "./ui.js";

const canvas = $("#canvas");
const context = canvas.getContext("2d", { alpha: false });
const busy = $("#busy");

let line = null; // the open socket
let ready = false;
let waiting = null; // the newest message that has not been sent
let inFlight = false;
let seq = 0;
let sentAt = 0;
let playing = null;
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
}

export async function paint(data) {
  const bitmap = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    resize(bitmap.width, bitmap.height);
  }
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
}

function flush() {
  if (!ready || inFlight || !waiting) return;
  const message = waiting;
  waiting = null;
  seq += 1;
  inFlight = !message.play;
  sentAt = message.at ?? performance.now();
  delete message.at;
  line.send(JSON.stringify({ ...message, seq }));
}

// Show an expression: {units, yaw, pitch, roll, right, down}.
export function express(expression) {
  playing = null;
  waiting = { ...expression, at: performance.now() };
  open();
  flush();
}

// Play a bundled performance round and round.
export function play(name) {
  playing = name;
  waiting = { play: name };
  inFlight = false;
  open();
  flush();
}

export const isPlaying = () => playing;

export function open() {
  if (line || !shared.portrait) return;
  ready = false;
  inFlight = false;
  busyWith("Preparing the portrait…");
  const told = (message) => {
    if (mine !== line) return;
    if (message.ready) {
      ready = true;
      retry = 0;
      busyWith("");
      flush();
    } else if (message.error) {
      inFlight = false;
      busyWith("");
      toast(message.error);
    }
  };
  const shown = async (picture) => {
    if (mine !== line) return;
    const number = new DataView(picture).getUint32(0, true);
    await paint(picture.slice(4));
    if (mine !== line) return;
    if (!playing && number === seq) {
      inFlight = false;
      latencies.push(performance.now() - sentAt);
      if (latencies.length > 200) latencies.shift();
    }
    flush();
  };
  const mine = (line = socket("/studio/express", { portrait: shared.portrait.id, face: shared.face }, told, shown));
  mine.onclose = () => {
    if (mine !== line) return;
    line = null;
    ready = false;
    inFlight = false;
    busyWith("");
    if (retry++ < 3 && shared.portrait && (waiting || playing)) setTimeout(open, 800 * retry);
  };
}

export function close() {
  const old = line;
  line = null;
  ready = false;
  waiting = null;
  inFlight = false;
  playing = null;
  busyWith("");
  old?.close();
}

// The portrait as it is, until the first picture comes.
export function showStill() {
  const image = $("#before");
  image.onload = () => {
    const k = Math.min(1, shared.offer.limits.preview / Math.max(image.naturalWidth, image.naturalHeight));
    resize(Math.max(2, Math.round(image.naturalWidth * k)), Math.max(2, Math.round(image.naturalHeight * k)));
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
  };
  image.src = `/studio/portraits/${shared.portrait.id}/image?side=1280`;
}

on("portrait", () => {
  close();
  if (shared.portrait) showStill();
});
on("face", close);

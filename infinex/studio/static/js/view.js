// How the stage is looked at: zoom, pan, the whole screen, before and after, and a result that plays on it.

import { shared, on, tell } from "./state.js";
import { $, able } from "./ui.js";
import { t, percent } from "./words.js";

const MOST = 8;
const frame = $("#frame"), plate = $("#plate"), before = $("#before"), knife = $("#knife");
const video = $("#result"), picture = $("#result-picture"), corner = $("#corner");
let zoom = 1, left = 0, top = 0; // the plate's scale and place in the frame, in pixels
let wide = 1, high = 1; // the plate without zoom
let split = null; // where the picture of before ends, a share of the frame; null: it is not shown
let driver = null; // {url, from, speed}: what stands small in the corner
let playing = null; // the result on the stage
let shape = null; // its width by its height, where that is another than the portrait's
let near = false; // whether the face is to be looked at once the stage is seen

// -- zoom and pan ---------------------------------------------------------------------------------------

function settle() {
  const place = (at, inner, outer) => (inner <= outer ? (outer - inner) / 2 : Math.min(0, Math.max(outer - inner, at)));
  left = place(left, zoom * wide, frame.clientWidth);
  top = place(top, zoom * high, frame.clientHeight);
  plate.style.transform = `translate(${left}px, ${top}px) scale(${zoom})`;
  frame.classList.toggle("zoomed", zoom > 1.001);
  able($("#zoom-out"), zoom > 1.001);
  able($("#zoom-in"), zoom < MOST - 0.001);
  $("#zoom-face").setAttribute("aria-pressed", zoom > 1.001);
  showSplit();
}

// The plate takes as much of the frame as the picture's shape allows. While the stage is hidden, all stays as it was.
function layout() {
  if (!frame.clientWidth) return;
  if (shape) frame.style.setProperty("--ratio", shape); // whatever the preview draws behind it
  const ratio = Number(frame.style.getPropertyValue("--ratio")) || 1;
  const share = [left / wide, top / high];
  wide = Math.min(frame.clientWidth, frame.clientHeight * ratio);
  high = wide / ratio;
  plate.style.width = `${wide}px`;
  plate.style.height = `${high}px`;
  [left, top] = [share[0] * wide, share[1] * high];
  settle();
  if (near) closely();
}

function zoomTo(wanted, x = frame.clientWidth / 2, y = frame.clientHeight / 2) {
  const next = Math.min(MOST, Math.max(1, wanted));
  left = x - ((x - left) * next) / zoom;
  top = y - ((y - top) * next) / zoom;
  zoom = next;
  settle();
}

// The chosen face over two thirds of the stage's height; the whole picture where that is shown already.
function toFace(always = false) {
  if (zoom > 1.001 && !always) { zoomTo(1); return; }
  if (shape) { zoomTo(1.6); return; } // it is cut around the face
  const face = shared.portrait?.faces[shared.face - 1];
  if (!face) return;
  const xs = face.outline.map((p) => p[0]), ys = face.outline.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  zoom = Math.min(MOST, Math.max(1, 0.62 * Math.min(frame.clientHeight / ((y1 - y0) * high), frame.clientWidth / ((x1 - x0) * wide))));
  left = frame.clientWidth / 2 - ((x0 + x1) / 2) * wide * zoom;
  top = frame.clientHeight / 2 - ((y0 + y1) / 2) * high * zoom;
  settle();
}

export function whole() { zoomTo(1); }

function fingers() {
  const held = new Map();
  let last = null;
  const middle = () => {
    const p = [...held.values()];
    return p.length < 2 ? { x: p[0].x, y: p[0].y, apart: 0 }
      : { x: (p[0].x + p[1].x) / 2, y: (p[0].y + p[1].y) / 2, apart: Math.hypot(p[0].x - p[1].x, p[0].y - p[1].y) };
  };
  frame.addEventListener("pointerdown", (e) => {
    if (e.target.closest("button, [role=slider], polygon, .corner")) return;
    held.set(e.pointerId, { x: e.clientX, y: e.clientY });
    if (held.size > 1 || zoom > 1.001) frame.setPointerCapture(e.pointerId);
    last = middle();
  });
  frame.addEventListener("pointermove", (e) => {
    if (!held.has(e.pointerId)) return;
    held.set(e.pointerId, { x: e.clientX, y: e.clientY });
    const now = middle(), box = frame.getBoundingClientRect();
    if (last.apart && now.apart) zoomTo((zoom * now.apart) / last.apart, now.x - box.left, now.y - box.top);
    if (zoom > 1.001) { left += now.x - last.x; top += now.y - last.y; settle(); }
    last = now;
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    frame.addEventListener(end, (e) => { held.delete(e.pointerId); last = held.size ? middle() : null; });
  }
  frame.addEventListener("wheel", (e) => {
    if (zoom <= 1.001 && e.deltaY >= 0) return; // the page scrolls on
    e.preventDefault();
    const box = frame.getBoundingClientRect();
    zoomTo(zoom * Math.exp(-e.deltaY * (e.deltaMode ? 0.06 : 0.002)), e.clientX - box.left, e.clientY - box.top);
  }, { passive: false });
  frame.addEventListener("dblclick", (e) => { if (!e.target.closest("button, [role=slider]")) toFace(); });
  frame.addEventListener("keydown", (e) => {
    if (e.target !== frame) return;
    const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[e.key];
    if (e.key === "+" || e.key === "=") zoomTo(zoom * 1.3);
    else if (e.key === "-") zoomTo(zoom / 1.3);
    else if (e.key === "0") whole();
    else if (step && zoom > 1.001) { left += step[0]; top += step[1]; settle(); } else return;
    e.preventDefault();
  });
}

// -- before and after -----------------------------------------------------------------------------------

function showSplit() {
  before.hidden = knife.hidden = split === null;
  $("#wipe").setAttribute("aria-pressed", split !== null);
  if (split === null) return;
  const share = (split * frame.clientWidth - left) / (zoom * wide);
  before.style.clipPath = `inset(0 ${100 * (1 - Math.min(1, Math.max(0, share)))}% 0 0)`;
  knife.style.left = `${100 * split}%`;
  knife.setAttribute("aria-valuenow", Math.round(100 * split));
  knife.setAttribute("aria-valuetext", t("stage.before.share", { share: percent(split) }));
}

const cut = (share) => { split = Math.min(1, Math.max(0, share)); showSplit(); };

function wiping() {
  $("#wipe").addEventListener("click", () => { split = split === null ? 0.5 : null; showSplit(); if (split !== null) knife.focus(); });
  knife.addEventListener("pointerdown", (e) => { knife.setPointerCapture(e.pointerId); e.stopPropagation(); });
  knife.addEventListener("pointermove", (e) => {
    if (!knife.hasPointerCapture(e.pointerId)) return;
    const box = frame.getBoundingClientRect();
    cut((e.clientX - box.left) / box.width);
  });
  knife.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 0.02, ArrowUp: 0.02, ArrowLeft: -0.02, ArrowDown: -0.02, PageUp: 0.2, PageDown: -0.2, Home: -1, End: 1 }[e.key];
    if (step) { e.preventDefault(); cut(split + step); }
    if (e.key === "Escape") { split = null; showSplit(); $("#wipe").focus(); }
  });
}

// -- the result -----------------------------------------------------------------------------------------

// Play a finished animation on the stage. `sound`: a click asked for it, so it may be heard.
export async function present({ url, format = "mp4", captions = null, loop = false, name = "" }, { sound = false, beside = null } = {}) {
  playing = url;
  driver = beside;
  const moving = !["gif", "apng", "png"].includes(format);
  video.hidden = !moving;
  picture.hidden = moving;
  frame.classList.add("showing");
  tell("presented", { name, moving });
  if (!moving) { picture.src = url; corner.hidden = true; showCorner(); return; }
  video.replaceChildren();
  if (captions) {
    const track = Object.assign(document.createElement("track"), { kind: "captions", label: t("stage.captions"), src: captions, default: true });
    video.append(track);
  }
  video.loop = loop;
  video.muted = !sound;
  video.src = url;
  showCorner();
  try { await video.play(); } catch (error) {
    if (error.name === "NotAllowedError" && sound) { video.muted = true; await video.play().catch(() => {}); }
  }
  tell("transport");
}

export function dismiss() {
  if (!playing) return;
  playing = null;
  video.pause();
  video.removeAttribute("src");
  video.load();
  picture.removeAttribute("src");
  video.hidden = picture.hidden = true;
  driver = null;
  showCorner();
  fitting(null);
  frame.classList.remove("showing");
  tell("presented", null);
}

export const presented = () => playing && !video.hidden;

// The stage takes the shape of what it shows. Before and after are compared where both have one.
function fitting(ratio) {
  const own = $("#canvas").width / $("#canvas").height;
  const was = shape;
  shape = ratio && Math.abs(ratio / own - 1) > 0.02 ? ratio : null;
  able($("#wipe"), !shape);
  if (shape) split = null;
  if (was === shape) { showSplit(); return; }
  frame.style.setProperty("--ratio", shape ?? own);
  zoom = 1;
  layout();
}

function showCorner() {
  corner.hidden = !driver || !playing;
  $("#corner-toggle").hidden = corner.hidden;
  if (corner.hidden) { corner.removeAttribute("src"); return; }
  if (corner.src !== driver.url) corner.src = driver.url;
  corner.muted = true;
}

function along() {
  if (corner.hidden || !driver) return;
  const wanted = Math.min((driver.from ?? 0) + Math.max(0, video.currentTime - (driver.at ?? 0)) * (driver.speed ?? 1), corner.duration || Infinity);
  if (Math.abs(corner.currentTime - wanted) > 0.15) corner.currentTime = wanted;
  if (video.paused !== corner.paused) { if (video.paused) corner.pause(); else corner.play().catch(() => {}); }
  corner.playbackRate = Math.min(4, Math.max(0.25, driver.speed ?? 1));
}

function fullScreen() {
  const button = $("#full");
  button.hidden = !document.fullscreenEnabled;
  button.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : $("#stage").requestFullscreen()));
  document.addEventListener("fullscreenchange", () => {
    button.setAttribute("aria-pressed", Boolean(document.fullscreenElement));
    requestAnimationFrame(layout);
  });
}

export function begin() {
  new ResizeObserver(layout).observe(frame);
  fingers();
  wiping();
  fullScreen();
  $("#zoom-in").addEventListener("click", () => zoomTo(zoom * 1.5));
  $("#zoom-out").addEventListener("click", () => zoomTo(zoom / 1.5));
  $("#zoom-face").addEventListener("click", () => toFace());
  $("#corner-toggle").addEventListener("click", (e) => {
    const off = corner.classList.toggle("off");
    e.currentTarget.setAttribute("aria-pressed", !off);
  });
  video.addEventListener("loadedmetadata", () => fitting(video.videoWidth / video.videoHeight));
  picture.addEventListener("load", () => fitting(picture.naturalWidth / picture.naturalHeight));
  for (const name of ["play", "pause", "seeked", "timeupdate"]) video.addEventListener(name, along);
  for (const name of ["play", "pause", "timeupdate", "loadedmetadata", "volumechange", "ended", "seeked"]) video.addEventListener(name, () => tell("transport"));
  on("portrait", () => { split = null; near = false; dismiss(); zoom = 1; layout(); });
  on("ratio", layout);
  on("face", closely);
  on("still", closely);
}

// A small face is looked at closely at once.
function closely() {
  const face = shared.portrait?.faces[shared.face - 1];
  near = !frame.clientWidth; // else as soon as the stage is seen
  if (near) return;
  const ys = face?.outline.map((p) => p[1]) ?? [0, 1];
  if (Math.max(...ys) - Math.min(...ys) < 0.22) toFace(true);
}

// Choosing a portrait, and a face in it.

import { ask, json, post } from "./api.js";
import { shared, tell, on } from "./state.js";
import { $, camera, drops, make, sayError, stopTracks, toast } from "./ui.js";
import { busyWith } from "./stage.js";

let stream = null;

export function begin() {
  const list = $("#examples");
  for (const example of shared.offer.examples) {
    list.append(make("button", { class: "example", title: example.credit, "aria-label": `Example: ${example.label}`,
      onclick: () => take(() => post(`/studio/examples/${example.name}`), example.label) },
    make("img", { src: `/static/examples/${example.name}.jpg`, alt: "", width: 132, height: 148 }), example.label));
  }
  $("#file").addEventListener("change", (e) => { if (e.target.files[0]) upload(e.target.files[0]); e.target.value = ""; });
  drops($("#drop"), upload);
  document.addEventListener("dragover", (e) => e.preventDefault());
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    const file = e.dataTransfer.files[0];
    if (file?.type.startsWith("image/")) upload(file);
  });
  document.addEventListener("paste", (e) => {
    const item = [...(e.clipboardData?.items ?? [])].find((i) => i.type.startsWith("image/"));
    if (item) { e.preventDefault(); upload(item.getAsFile()); }
  });
  marking();
  const keep = () => sessionStorage.setItem("portrait", JSON.stringify({ id: shared.portrait.id, face: shared.face, name: shared.portrait.name }));
  on("portrait", keep);
  on("face", keep);
  $("#use-camera").addEventListener("click", shoot);
  $("#shoot-stop").addEventListener("click", stopShooting);
  $("#shoot-take").addEventListener("click", takePicture);
  $("#pick-face").addEventListener("click", () => showFaces(true));
  on("view", (name) => { if (name !== "portrait") stopShooting(); });
}

export function upload(file) {
  if (file.size > shared.offer.limits.upload) { toast(`That is too large; at most ${shared.offer.limits.upload >> 20} MB.`); return; }
  const form = new FormData();
  form.append("picture", file, file.name || "pasted.png");
  take(() => post("/studio/portraits", form), file.name, file);
}

// -- marking a face that was not found ------------------------------------------------------------------

let box = [0.3, 0.2, 0.4, 0.5]; // x, y, width, height in shares of the picture
let marked = null;

function showBox() {
  const [x, y, w, h] = box.map((v) => `${100 * v}%`);
  Object.assign($("#mark-box").style, { left: x, top: y, width: w, height: h });
}

function mark(file) {
  marked = file;
  const image = $("#mark-image");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  $("#marking").hidden = false;
  showBox();
  $("#mark-frame").focus();
}

function marking() {
  const frame = $("#mark-frame");
  let from = null;
  const at = (e) => {
    const r = frame.getBoundingClientRect();
    return [Math.min(1, Math.max(0, (e.clientX - r.left) / r.width)), Math.min(1, Math.max(0, (e.clientY - r.top) / r.height))];
  };
  frame.addEventListener("pointerdown", (e) => { frame.setPointerCapture(e.pointerId); from = at(e); });
  frame.addEventListener("pointermove", (e) => {
    if (!from) return;
    const to = at(e);
    box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    showBox();
  });
  frame.addEventListener("pointerup", () => { from = null; });
  frame.addEventListener("keydown", (e) => {
    const step = { ArrowRight: [0.02, 0], ArrowLeft: [-0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[e.key];
    if (!step) return;
    e.preventDefault();
    const first = e.shiftKey ? 2 : 0;
    for (const i of [0, 1]) box[first + i] = Math.min(1, Math.max(first ? 0.05 : 0, box[first + i] + step[i]));
    showBox();
  });
  $("#mark-cancel").addEventListener("click", () => { $("#marking").hidden = true; });
  $("#mark-use").addEventListener("click", () => {
    const { naturalWidth: w, naturalHeight: h } = $("#mark-image");
    const form = new FormData();
    form.append("picture", marked, marked.name || "marked.png");
    form.append("box", [box[0] * w, box[1] * h, box[2] * w, box[3] * h].map((v) => v.toFixed(1)).join(","));
    take(() => post("/studio/portraits", form), marked.name);
  });
}

// The portrait of before the page was loaded again.
export async function again() {
  const kept = sessionStorage.getItem("portrait");
  if (!kept) return;
  try {
    const { id, face, name } = JSON.parse(kept);
    shared.portrait = { ...(await json(`/studio/portraits/${id}`)), name };
    shared.face = Math.min(face, shared.portrait.faces.length);
    tell("portrait");
    $("#pick-face").hidden = shared.portrait.faces.length < 2;
  } catch { sessionStorage.removeItem("portrait"); }
}

async function take(request, name, file = null) {
  const drop = $("#drop");
  drop.setAttribute("aria-busy", "true");
  document.body.classList.add("waiting");
  const words = $(".drop-words");
  const before = words.textContent;
  words.textContent = "Looking for the face…";
  try {
    const portrait = await request();
    shared.portrait = { ...portrait, name };
    shared.face = portrait.largest;
    stopShooting();
    $("#marking").hidden = true;
    tell("portrait");
    location.hash = "#express";
    if (portrait.faces.length > 1) showFaces(true);
    else showFaces(false);
  } catch (error) {
    sayError(error);
    if (file && /^no face found/i.test(error.message)) mark(file);
  } finally {
    words.textContent = before;
    drop.removeAttribute("aria-busy");
    document.body.classList.remove("waiting");
  }
}

function showFaces(open) {
  const svg = $("#faces");
  const many = shared.portrait.faces.length > 1;
  $("#pick-face").hidden = !many;
  svg.replaceChildren();
  svg.toggleAttribute("hidden", !(open && many));
  if (svg.hasAttribute("hidden")) return;
  busyWith("");
  toast("Several faces are in this picture. Pick the one that should move.");
  for (const face of shared.portrait.faces) {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    shape.setAttribute("points", face.outline.map((p) => p.join(",")).join(" "));
    shape.setAttribute("role", "button");
    shape.setAttribute("tabindex", "0");
    shape.setAttribute("aria-label", `Face ${face.number} of ${shared.portrait.faces.length}, from the left`);
    shape.setAttribute("aria-pressed", face.number === shared.face);
    const pick = () => {
      shared.face = face.number;
      svg.setAttribute("hidden", "");
      tell("face");
    };
    shape.addEventListener("click", pick);
    shape.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); pick(); } });
    svg.append(shape);
  }
}

async function shoot() {
  try {
    stream = await camera({ video: { width: { ideal: 1280 }, height: { ideal: 960 }, facingMode: "user" } });
  } catch (error) { sayError(error); return; }
  const video = $("#shoot-video");
  video.srcObject = stream;
  await video.play();
  $("#shoot").hidden = false;
  $("#shoot-take").focus();
}

function stopShooting() {
  stopTracks(stream);
  stream = null;
  $("#shoot").hidden = true;
}

function takePicture() {
  const video = $("#shoot-video");
  const picture = document.createElement("canvas");
  picture.width = video.videoWidth;
  picture.height = video.videoHeight;
  picture.getContext("2d").drawImage(video, 0, 0);
  picture.toBlob((blob) => upload(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.95);
}

// The expression at the portrait's own size, as a file.
export async function saveStill(expression) {
  const response = await ask(`/studio/portraits/${shared.portrait.id}/still?face=${shared.face}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(expression),
  });
  const link = make("a", { href: URL.createObjectURL(await response.blob()), download: "infinex-portrait.png" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Choosing a portrait, and a face in it.

import { ask, post } from "./api.js";
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
  take(() => post("/studio/portraits", form), file.name);
}

async function take(request, name) {
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
    tell("portrait");
    location.hash = "#express";
    if (portrait.faces.length > 1) showFaces(true);
    else showFaces(false);
  } catch (error) {
    sayError(error);
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

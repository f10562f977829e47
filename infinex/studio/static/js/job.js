// One animation on the page: progress, cancelling, the result beside its driver, downloads.

import { cancel, follow, post, Refused } from "./api.js";
import { make, sayError, time } from "./ui.js";
import { shared, tell } from "./state.js";

export function formOf(fields) {
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || value === null || value === "") continue;
    if (value instanceof File) form.append(key, value, value.name);
    else form.append(key, value);
  }
  return form;
}

const words = (a) => {
  if (a.state === "queued") return a.position > 1 ? `Waiting: ${a.position - 1} before you` : "Next in the queue…";
  if (a.state === "running") return a.progress > 0 ? "Making the video…" : "Looking at the performance…";
  return { done: "Done", failed: "That did not work", cancelled: "Cancelled" }[a.state];
};

// Make an animation inside `place`. `beside` is a URL of the driver to show next to it.
export async function makeIn(place, fields, { beside = null, panel = true, done = () => {} } = {}) {
  const bar = make("span");
  const text = make("span", { text: "Sending…" });
  const left = make("span");
  const stop = make("button", { class: "button small", text: "Cancel" });
  const meter = make("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0, "aria-label": "Progress" }, bar);
  const box = make("div", { class: "progress", role: "group", "aria-label": "The animation in the making" },
    make("div", { class: "words" }, text, left), meter, stop);
  place.replaceChildren(box);
  box.scrollIntoView({ block: "nearest", behavior: "smooth" });
  let id = null;
  let wanted = true;
  stop.addEventListener("click", async () => {
    wanted = false;
    stop.disabled = true;
    text.textContent = "Stopping…";
    if (id) await cancel(id).catch(() => {});
    place.replaceChildren(make("p", { class: "hint", role: "status", text: "Cancelled. Nothing was kept." }));
    tell("jobs");
  });
  try {
    let animation = await post("/v1/animations", formOf(fields));
    id = animation.id;
    if (!wanted) { await cancel(id).catch(() => {}); return null; }
    animation = await follow(animation, (a) => {
      if (!wanted) return;
      bar.style.width = `${Math.round(100 * a.progress)}%`;
      meter.setAttribute("aria-valuenow", Math.round(100 * a.progress));
      text.textContent = words(a);
      left.textContent = a.state === "running" && a.seconds_left !== null
        ? `${Math.round(100 * a.progress)} % · about ${time(a.seconds_left)} left` : "";
    }, () => !wanted);
    if (!wanted) return null;
    if (animation.state !== "done") throw new Refused(animation.message || "The animation was not finished.");
    place.replaceChildren(result(animation, fields, beside, panel));
    tell("jobs");
    done(animation);
    return animation;
  } catch (error) {
    if (wanted) place.replaceChildren(make("p", { class: "error", role: "alert", text: error.message }));
    if (!(error instanceof Refused)) sayError(error);
    return null;
  }
}

export const resultUrl = (a, format) => `/v1/animations/${a.id}/result${format ? `?format=${format}` : ""}`;

export function downloads(animation) {
  const link = (format, label) => make("a", { class: "button small", href: resultUrl(animation, format), download: "", text: label });
  const clear = animation.result?.format === "webm" ? [link("webm", "WebM")] : [];
  const row = make("div", { class: "row" }, ...clear, link("mp4", "MP4"), link("gif", "GIF"), link("motion", "Motion"),
    ...(animation.result?.captions ? [link("vtt", "Captions")] : []));
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", "Download");
  return row;
}

function result(animation, fields, beside, panel) {
  const video = make("video", { src: resultUrl(animation), controls: true, playsinline: true, class: "result-video", "aria-label": "The result" });
  const spoken = Boolean(fields.say || fields.speech); // is meant to be heard, once
  video.muted = !spoken;
  video.loop = !spoken;
  if (animation.result?.captions) {
    video.append(make("track", { kind: "captions", label: "Captions", src: resultUrl(animation, "vtt") }));
  }
  const pair = make("div", { class: beside ? "pair two" : "pair" });
  if (beside) {
    const driver = make("video", { src: beside, muted: true, playsinline: true, "aria-label": "The performance" });
    driver.muted = true;
    const same = () => { if (Math.abs(driver.currentTime - video.currentTime) > 0.12) driver.currentTime = Math.min(video.currentTime, driver.duration || 0); };
    video.addEventListener("play", () => { same(); driver.play().catch(() => {}); });
    video.addEventListener("pause", () => driver.pause());
    video.addEventListener("seeked", same);
    video.addEventListener("timeupdate", same);
    pair.append(make("figure", {}, driver, make("figcaption", { text: "Performance" })),
      make("figure", {}, video, make("figcaption", { text: "Portrait" })));
  } else pair.append(make("figure", {}, video));
  video.addEventListener("loadeddata", () => video.play().catch(() => {}), { once: true });
  const row = downloads(animation);
  const extra = make("div", { class: "job" });
  if (panel && !fields.panel) {
    row.append(make("button", { class: "button small ghost", text: "Four-column panel", title: "Portrait, performance, what the portrait never showed, result",
      onclick: (e) => { e.target.disabled = true; makeIn(extra, { ...fields, panel: "true" }, { panel: false }); } }));
  }
  const notes = animation.result.warnings.map((w) => make("p", { class: "hint", text: w }));
  const seconds = animation.result.duration.toFixed(1);
  const facts = make("p", { class: "hint", text: `${animation.result.width} × ${animation.result.height}, ${seconds} s` });
  return make("div", { class: "made", role: "group", "aria-label": "The result" }, pair, row, facts, ...notes, extra);
}

export const common = () => ({ portrait: shared.portrait.id, face: String(shared.face) });

// All work of this visitor, in every section: waiting, in the making, done. It comes from the server, so a reload keeps it.

import { ask, cancel, json } from "./api.js";
import { downloads, resultUrl } from "./job.js";
import { on, tell } from "./state.js";
import { $, make, sayError, time } from "./ui.js";

const OFTEN = 1500, SELDOM = 5000; // ms between looks, while the tray is open or something is being made
let later = null;
let renaming = null; // id of the one whose name is being written
let known = "";

export function begin() {
  $("#tray-open").addEventListener("click", () => show($("#tray").hidden));
  $("#tray-close").addEventListener("click", () => show(false));
  document.addEventListener("keydown", (e) => { if (e.key === "Escape" && !$("#tray").hidden && !renaming) show(false); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  on("jobs", look);
  look();
}

function show(open) {
  $("#tray").hidden = !open;
  $("#tray-open").setAttribute("aria-expanded", open);
  if (open) { look(); $("#tray-close").focus(); }
  else { renaming = null; $("#tray-open").focus(); }
}

async function look() {
  clearTimeout(later);
  let jobs;
  try { jobs = await json("/studio/jobs"); } catch { later = setTimeout(look, SELDOM); return; }
  const busy = jobs.filter((j) => ["queued", "running"].includes(j.state)).length;
  $("#tray-count").textContent = busy || "";
  $("#tray-open").setAttribute("aria-label", busy ? `All work, ${busy} in the making` : "All work");
  const open = !$("#tray").hidden;
  if (open) draw(jobs);
  if ((busy || open) && !document.hidden) later = setTimeout(look, open ? OFTEN : SELDOM);
}

function draw(jobs) {
  const now = JSON.stringify(jobs);
  if (now === known || renaming) return;
  known = now;
  const focused = document.activeElement?.dataset?.key;
  $("#tray-none").hidden = jobs.length > 0;
  $("#tray-list").replaceChildren(...jobs.map(row));
  if (focused) $(`[data-key="${focused}"]`)?.focus();
}

const named = (job) => job.label || "Animation";

const state = (job) => ({
  queued: job.position > 1 ? `Waiting, ${job.position - 1} before it` : "Next in the queue",
  running: `${Math.round(100 * job.progress)} %${job.seconds_left === null ? "" : `, about ${time(job.seconds_left)} left`}`,
  done: job.result ? `${job.result.duration.toFixed(1)} s, ${job.result.width} × ${job.result.height}` : "",
  failed: job.message, cancelled: job.message || "Cancelled",
}[job.state]);

function row(job) {
  const ended = !["queued", "running"].includes(job.state);
  const title = job.state === "done"
    ? make("a", { href: resultUrl(job), target: "_blank", rel: "noopener", text: named(job), "data-key": `${job.id}-open` })
    : make("span", { text: named(job) });
  const tools = job.state === "done" ? downloads(job) : make("div", { class: "row" });
  const gone = async () => { await cancel(job.id).catch(sayError); tell("jobs"); };
  tools.append(
    make("button", { class: "button small ghost", text: "Rename", "aria-label": `Rename ${named(job)}`, "data-key": `${job.id}-name`, onclick: () => rename(job, item) }),
    make("button", { class: "button small ghost", text: ended ? "Remove" : "Stop", "aria-label": `${ended ? "Remove" : "Stop"} ${named(job)}`, "data-key": `${job.id}-gone`, onclick: gone }));
  const words = make("p", { class: job.state === "failed" ? "error" : "hint", text: state(job) });
  const picture = job.state === "done"
    ? make("img", { class: "thumb", src: `/studio/jobs/${job.id}/thumb`, alt: "", loading: "lazy" })
    : make("span", { class: "thumb" }, job.state === "running" ? make("span", { class: "spinner", "aria-hidden": "true" }) : null);
  const item = make("li", {}, picture, make("div", { class: "about" }, title, words, tools));
  return item;
}

function rename(job, item) {
  renaming = job.id;
  const input = make("input", { type: "text", maxlength: 80, value: job.label, "aria-label": "Name of this animation" });
  const end = async (keep) => {
    if (renaming !== job.id) return;
    renaming = null;
    known = "";
    if (keep && input.value.trim() !== job.label) {
      await ask(`/studio/jobs/${job.id}`, {
        method: "PATCH", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ label: input.value.trim() }),
      }).catch(sayError);
    }
    await look();
    $(`[data-key="${job.id}-name"]`)?.focus();
  };
  input.addEventListener("keydown", (e) => {
    if (e.key === "Enter") end(true);
    if (e.key === "Escape") { e.stopPropagation(); end(false); }
  });
  input.addEventListener("blur", () => end(true));
  item.querySelector(".about").firstChild.replaceWith(input);
  input.select();
}

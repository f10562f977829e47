// The same performance in several versions, side by side.

import { cancel, follow, formOf, json, post } from "./api.js";
import { on, shared } from "./state.js";
import { $, $$, able, drops, make, sayError, toast } from "./ui.js";
import { named, t } from "./words.js";
import { resultUrl, stateOf } from "./exporting.js";

let file = null;
let made = []; // {label, animation, video}
let round = 0;

function versions() {
  const list = [];
  for (const e of shared.offer.engines) list.push({ key: e.name, label: e.name === "mesh" ? t("engine.mesh") : named("engine", e.name, e.label), fields: { engine: e.name } });
  list.push(
    { key: "own", label: t("compare.own"), fields: { engine: "mesh", mouth: "own", wrinkles: "none" } },
    { key: "gentle", label: t("compare.gentle"), fields: { engine: "mesh", strength: "0.6" } },
    { key: "strong", label: t("compare.strong"), fields: { engine: "mesh", strength: "1.4" } },
    { key: "still", label: t("compare.still"), fields: { engine: "mesh", parts: "lips,eyes,brows,gaze" } },
  );
  return list;
}

export function begin() {
  for (const m of shared.offer.motions) $("#cmp-motion").append(make("option", { value: m.name, text: named("motion", m.name, m.label) }));
  const all = versions();
  const first = new Set([all[0].key, shared.offer.engines.length > 1 ? all[1].key : "gentle"]);
  for (const v of all) {
    $("#cmp-versions").append(make("label", { class: "check" }, make("input", { type: "checkbox", name: "version", value: v.key, checked: first.has(v.key) || undefined }), v.label));
  }
  const take = (f) => { file = f; $("#cmp-name").textContent = f.name; };
  $("#cmp-file").addEventListener("change", (e) => { if (e.target.files[0]) take(e.target.files[0]); e.target.value = ""; });
  drops($("#cmp-name").parentElement, take);
  $("#cmp-motion").addEventListener("change", () => { file = null; $("#cmp-name").textContent = t("compare.file"); });
  $("#cmp-make").addEventListener("click", run);
  $("#cmp-play").addEventListener("click", together);
  $("#cmp-study").addEventListener("click", study);
  on("view", (name) => { if (name === "compare") studies(); });
}

async function run() {
  if (!shared.portrait) { toast(t("portrait.first")); location.hash = "#portrait"; return; }
  const wanted = $$('[name="version"]:checked').map((c) => versions().find((v) => v.key === c.value));
  if (wanted.length < 2) { toast(t("compare.two")); return; }
  const mine = ++round;
  made = [];
  $("#cmp-tools").hidden = true;
  const place = $("#cmp-results");
  place.replaceChildren();
  able($("#cmp-make"), false);
  const driver = file ? { driving: file } : { motion: $("#cmp-motion").value };
  const title = file ? file.name : $("#cmp-motion").selectedOptions[0].text;
  for (const version of wanted) {
    const words = make("p", { class: "hint", role: "status", text: t("job.next") });
    const card = make("div", { class: "result" }, make("h3", { text: version.label }), words);
    place.append(card);
    try {
      let animation = await post("/v1/animations", formOf({ portrait: shared.portrait.id, face: String(shared.face), ...driver, ...version.fields, label: `${title}: ${version.label}`.slice(0, 80) }));
      animation = await follow(animation, (a) => { words.textContent = stateOf(a); }, () => mine !== round);
      if (mine !== round) { cancel(animation.id).catch(() => {}); return; }
      if (animation.state !== "done") throw new Error(animation.message);
      const video = make("video", { src: resultUrl(animation), controls: true, loop: true, playsinline: true, "aria-label": version.label });
      video.muted = true;
      words.replaceWith(video);
      made.push({ label: version.label, animation, video });
    } catch (error) { words.textContent = error.message; words.className = "error"; }
  }
  able($("#cmp-make"), true);
  $("#cmp-tools").hidden = made.length < 2;
  together();
}

function together() {
  for (const m of made) { m.video.pause(); m.video.currentTime = 0; }
  for (const m of made) m.video.play().catch(() => {});
}

async function study() {
  const pairs = [];
  for (let i = 0; i < made.length; i++) for (let j = i + 1; j < made.length; j++) pairs.push([made[i], made[j]]);
  try {
    const answer = await post("/studio/studies", { pairs: pairs.map(([a, b]) => ({ a: a.animation.id, b: b.animation.id, name_a: a.label, name_b: b.label })) });
    location.hash = `#study/${answer.id}`;
  } catch (error) { sayError(error); }
}

async function studies() {
  let list;
  try { list = await json("/studio/studies"); } catch { return; }
  $("#studies-card").hidden = !list.length;
  $("#studies").replaceChildren(...list.map((s) => make("li", {}, make("span", { text: s.title }),
    make("span", { class: "hint", text: `${t("study.pairs", { n: s.pairs })}, ${t("study.people", { n: s.raters })}` }),
    make("a", { class: "button small", href: `#study/${s.id}`, text: t("open") }))));
}

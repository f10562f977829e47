// A blind study: two videos, three questions, and a table at the end.

import { json, post } from "./api.js";
import { $, make, sayError } from "./ui.js";
import { named, percent, t } from "./words.js";

const place = () => $("#study");
let study = null;
let rater = null;

export async function open(id) {
  try {
    study = await json(`/studio/studies/${id}`);
  } catch (error) { place().replaceChildren(make("p", { class: "error", text: error.message })); return; }
  welcome();
}

function welcome() {
  $("#study-title").textContent = study.title;
  const name = make("input", { type: "text", id: "rater", maxlength: 40, autocomplete: "off", required: true, value: rater ?? "" });
  const form = make("form", { class: "card", onsubmit: (e) => { e.preventDefault(); rater = name.value.trim(); if (rater) next(); } },
    make("p", { class: "hint", text: t("study.how", { n: study.pairs }) }),
    make("label", { class: "field" }, make("span", { text: t("study.name") }), name),
    make("div", { class: "row" }, make("button", { class: "button primary", text: t("study.begin") }), make("button", { class: "button", type: "button", text: t("study.results"), onclick: results })));
  place().replaceChildren(form);
  name.focus();
}

async function next() {
  let item;
  try { item = await json(`/studio/studies/${study.id}/next?rater=${encodeURIComponent(rater)}`); } catch (error) { sayError(error); return; }
  if (item.done) {
    place().replaceChildren(make("div", { class: "card" }, make("h2", { text: t("study.thanks") }), make("p", { class: "hint", text: t("study.end") }),
      make("div", { class: "row" }, make("button", { class: "button primary", text: t("study.results"), onclick: results }), make("button", { class: "button", text: t("study.other"), onclick: () => { rater = null; welcome(); } }))));
    return;
  }
  const side = (which, label) => {
    const video = make("video", { src: `/studio/studies/${study.id}/video/${item.token}/${which}?rater=${encodeURIComponent(rater)}`, loop: true, playsinline: true, controls: true, "aria-label": t("study.video", { side: label }) });
    video.muted = true;
    return make("div", { class: "side" }, video, make("span", { text: label }));
  };
  const left = side("left", t("left"));
  const right = side("right", t("right"));
  const again = () => { for (const v of place().querySelectorAll("video")) { v.currentTime = 0; v.play().catch(() => {}); } };
  const questions = study.questions.filter((q) => q.key !== "match" || item.text).map((q) => {
    const choice = make("span", { class: "choice", role: "radiogroup", "aria-label": named("question", q.key, q.words) });
    for (const [value, label] of [["left", t("left")], ["right", t("right")]]) {
      choice.append(make("label", {}, make("input", { type: "radio", name: q.key, value, required: true }), label));
    }
    return make("div", { class: "question" }, make("span", { text: named("question", q.key, q.words) }), choice);
  });
  const form = make("form", { onsubmit: async (e) => {
    e.preventDefault();
    const answers = Object.fromEntries(new FormData(form));
    try { await post(`/studio/studies/${study.id}/answers`, { rater, token: item.token, answers }); } catch (error) { sayError(error); return; }
    next();
  } }, ...questions, make("div", { class: "row" }, make("button", { class: "button primary", text: t("study.next") }), make("button", { class: "button", type: "button", text: t("study.again"), onclick: again })));
  place().replaceChildren(make("p", { class: "hint", text: t("study.pair", { number: item.number, all: study.pairs }) + (item.text ? ` — “${item.text}”` : "") }),
    make("div", { class: "pairing" }, left, right), form);
  let waiting = 2;
  for (const v of place().querySelectorAll("video")) v.addEventListener("canplay", () => { if (--waiting === 0) again(); }, { once: true });
}

async function results() {
  let table;
  try { table = await json(`/studio/studies/${study.id}/results`); } catch (error) { sayError(error); return; }
  const body = table.rows.map((r) => make("tr", {}, make("td", { text: r.a }), make("td", { text: r.b }), make("td", { text: named("question", r.question, r.question) }), make("td", { text: r.answers }),
    make("td", { text: r.answers ? percent(r.share) : "–" }), make("td", { text: r.answers ? `${percent(r.low)} – ${percent(r.high)}` : "–" })));
  const head = ["A", "B", t("study.question"), t("study.answers"), t("study.preferred"), t("study.interval")].map((t) => make("th", { scope: "col", text: t }));
  place().replaceChildren(make("div", { class: "card" }, make("h2", { text: t("study.table") }), make("p", { class: "hint", text: t("study.sofar", { n: table.raters }) }),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body))),
    make("div", { class: "row" }, make("a", { class: "button small", href: `/studio/studies/${study.id}/results.csv`, download: "", text: t("study.results.csv") }), make("a", { class: "button small", href: `/studio/studies/${study.id}/answers.csv`, download: "", text: t("study.answers.csv") }),
      make("button", { class: "button small ghost", text: t("back"), onclick: welcome }))));
}

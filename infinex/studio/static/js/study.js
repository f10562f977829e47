// A blind study: two videos, three questions, and a table at the end.

import { json, post } from "./api.js";
import { $, make, sayError } from "./ui.js";

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
    make("p", { class: "hint", text: `You will see ${study.pairs} pairs of videos, in random order and on random sides. There are no right answers. You can stop at any time and go on later under the same name.` }),
    make("label", { class: "field" }, make("span", { text: "Your name or initials" }), name),
    make("div", { class: "row" }, make("button", { class: "button primary", text: "Begin" }), make("button", { class: "button", type: "button", text: "See the results", onclick: results })));
  place().replaceChildren(form);
  name.focus();
}

async function next() {
  let item;
  try { item = await json(`/studio/studies/${study.id}/next?rater=${encodeURIComponent(rater)}`); } catch (error) { sayError(error); return; }
  if (item.done) {
    place().replaceChildren(make("div", { class: "card" }, make("h2", { text: "Thank you" }), make("p", { class: "hint", text: "You have judged every pair." }),
      make("div", { class: "row" }, make("button", { class: "button primary", text: "See the results", onclick: results }), make("button", { class: "button", text: "Somebody else", onclick: () => { rater = null; welcome(); } }))));
    return;
  }
  const side = (which, label) => {
    const video = make("video", { src: `/studio/studies/${study.id}/video/${item.token}/${which}?rater=${encodeURIComponent(rater)}`, loop: true, playsinline: true, controls: true, "aria-label": `Video ${label}` });
    video.muted = true;
    return make("div", { class: "side" }, video, make("span", { text: label }));
  };
  const left = side("left", "Left");
  const right = side("right", "Right");
  const again = () => { for (const v of place().querySelectorAll("video")) { v.currentTime = 0; v.play().catch(() => {}); } };
  const questions = study.questions.filter((q) => q.key !== "match" || item.text).map((q) => {
    const choice = make("span", { class: "choice", role: "radiogroup", "aria-label": q.words });
    for (const [value, label] of [["left", "Left"], ["right", "Right"]]) {
      choice.append(make("label", {}, make("input", { type: "radio", name: q.key, value, required: true }), label));
    }
    return make("div", { class: "question" }, make("span", { text: q.words }), choice);
  });
  const form = make("form", { onsubmit: async (e) => {
    e.preventDefault();
    const answers = Object.fromEntries(new FormData(form));
    try { await post(`/studio/studies/${study.id}/answers`, { rater, token: item.token, answers }); } catch (error) { sayError(error); return; }
    next();
  } }, ...questions, make("div", { class: "row" }, make("button", { class: "button primary", text: "Next" }), make("button", { class: "button", type: "button", text: "Play again", onclick: again })));
  place().replaceChildren(make("p", { class: "hint", text: `Pair ${item.number} of ${study.pairs}` + (item.text ? ` — “${item.text}”` : "") }),
    make("div", { class: "pairing" }, left, right), form);
  let waiting = 2;
  for (const v of place().querySelectorAll("video")) v.addEventListener("canplay", () => { if (--waiting === 0) again(); }, { once: true });
}

async function results() {
  let table;
  try { table = await json(`/studio/studies/${study.id}/results`); } catch (error) { sayError(error); return; }
  const percent = (x) => `${(100 * x).toFixed(0)} %`;
  const body = table.rows.map((r) => make("tr", {}, make("td", { text: r.a }), make("td", { text: r.b }), make("td", { text: r.question }), make("td", { text: r.answers }),
    make("td", { text: r.answers ? percent(r.share) : "–" }), make("td", { text: r.answers ? `${percent(r.low)} – ${percent(r.high)}` : "–" })));
  const head = ["A", "B", "Question", "Answers", "Preferred A", "95 % interval"].map((t) => make("th", { scope: "col", text: t }));
  place().replaceChildren(make("div", { class: "card" }, make("h2", { text: "Results" }), make("p", { class: "hint", text: table.raters === 1 ? "One person so far" : `${table.raters} people so far` }),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body))),
    make("div", { class: "row" }, make("a", { class: "button small", href: `/studio/studies/${study.id}/results.csv`, download: "", text: "Results as CSV" }), make("a", { class: "button small", href: `/studio/studies/${study.id}/answers.csv`, download: "", text: "Answers as CSV" }),
      make("button", { class: "button small ghost", text: "Back", onclick: welcome }))));
}

// The page as a whole: sections, light and dark, what the server offers.

import { json } from "./api.js";
import { shared, on, tell } from "./state.js";
import { $, $$, sayError, toast } from "./ui.js";
import * as portrait from "./portrait.js";
import * as express from "./express.js";
import * as drive from "./drive.js";
import * as live from "./live.js";
import * as compare from "./compare.js";
import * as tray from "./tray.js";
import * as study from "./study.js";
import { latencies } from "./stage.js";

const NEEDS = ["express", "drive", "live"];

function theme() {
  const wanted = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = wanted;
}

function route() {
  const [name, detail] = location.hash.slice(1).split("/");
  if (shared.offer?.only && name !== "study") { location.replace(`#study/${shared.offer.only}`); return; }
  let view = ["portrait", "express", "drive", "live", "compare", "study"].includes(name) ? name : "portrait";
  if (NEEDS.includes(view) && !shared.portrait) {
    if (name === view && shared.offer) toast("Choose a portrait first.");
    view = "portrait";
    history.replaceState(null, "", "#portrait");
  }
  $("#studio").hidden = !NEEDS.includes(view);
  for (const section of $$("[data-view]")) section.hidden = section.dataset.view !== view;
  $("#stage-tools").hidden = view === "live";
  for (const id of ["hold", "reset", "save"]) $(`#${id}`).hidden = view !== "express";
  for (const tab of $$("[data-tab]")) {
    if (tab.dataset.tab === view) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${{ portrait: "Portrait", express: "Express", drive: "Drive", live: "Live", compare: "Compare", study: "Study" }[view]} · Infinex`;
  if (view === "study") study.open(detail);
  tell("view", view);
  if (route.seen) { window.scrollTo(0, 0); $("#main").focus({ preventScroll: true }); }
  route.seen = true;
}

theme();
$("#theme").addEventListener("click", () => {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  theme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);

try {
  shared.offer = await json("/studio/offer");
  if (shared.offer.only) document.body.classList.add("only");
  else for (const part of [portrait, express, drive, live, compare, tray]) part.begin();
} catch (error) { sayError(error); }
on("portrait", () => { $("#canvas").setAttribute("aria-label", `The portrait ${shared.portrait.name ?? ""} as it is now`); });
if (shared.offer && !shared.offer.only) await portrait.again();
window.addEventListener("hashchange", route);
route();
window.infinex = { latencies, live: live.figures, expression: express.expression, ready: true }; // for measurements

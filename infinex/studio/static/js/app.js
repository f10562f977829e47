// The page as a whole: sections, light and dark, languages, what the studio offers.

import { json } from "./api.js";
import { shared, on, tell } from "./state.js";
import { $, $$, make, sayError, toast } from "./ui.js";
import { LANGUAGES, choose, language, load, t } from "./words.js";
import * as alive from "./alive.js";
import * as assets from "./assets.js";
import * as compare from "./compare.js";
import * as drive from "./drive.js";
import * as exporting from "./exporting.js";
import * as express from "./express.js";
import * as kiosk from "./kiosk.js";
import * as layers from "./layers.js";
import * as live from "./live.js";
import * as player from "./player.js";
import * as portrait from "./portrait.js";
import * as project from "./project.js";
import { latencies } from "./stage.js";
import * as study from "./study.js";
import * as timeline from "./timeline.js";
import * as tray from "./tray.js";
import * as view from "./view.js";

const NEEDS = ["express", "drive", "live"];
const VIEWS = ["portrait", ...NEEDS, "compare", "study", "kiosk"];

function theme() {
  const wanted = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = wanted;
}

function route() {
  const [name, detail] = location.hash.slice(1).split("/");
  if (shared.offer?.only && name !== "study") { location.replace(`#study/${shared.offer.only}`); return; }
  let now = VIEWS.includes(name) ? name : "portrait";
  if (NEEDS.includes(now) && !shared.portrait) {
    if (shared.offer) toast(t("portrait.first"));
    now = "portrait";
    history.replaceState(null, "", "#portrait");
  }
  shared.view = now;
  $("#studio").hidden = !NEEDS.includes(now) && now !== "kiosk";
  for (const section of $$("[data-view]")) section.hidden = section.dataset.view !== now;
  for (const id of ["reset", "save"]) $(`#${id}`).hidden = now !== "express";
  for (const tab of $$("[data-tab]")) {
    if (tab.dataset.tab === now) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${t(`view.${now}`)} · Infinex`;
  if (now === "study") study.open(detail);
  tell("view", now);
  if (route.seen) { window.scrollTo(0, 0); $("#main").focus({ preventScroll: true }); }
  route.seen = true;
}

await load();
theme();
$("#theme").addEventListener("click", () => {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  theme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
$("#language").append(...Object.entries(LANGUAGES).map(([value, text]) => make("option", { value, text, lang: value })));
$("#language").value = language;
$("#language").addEventListener("change", async (e) => { if (!shared.offer?.only) await project.flush(); choose(e.target.value); });

try {
  shared.offer = await json("/studio/offer");
  if (shared.offer.only) document.body.classList.add("only");
  else for (const part of [alive, view, player, timeline, layers, portrait, express, drive, live, compare, exporting, tray, assets, kiosk]) part.begin();
} catch (error) { sayError(error); }
on("portrait", () => { $("#canvas").setAttribute("aria-label", t("stage.portrait", { name: shared.portrait.name ?? "" })); });
if (shared.offer && !shared.offer.only) {
  project.start();
  await portrait.again();
}
window.addEventListener("hashchange", route);
route();
window.infinex = { latencies, live: live.figures, expression: express.expression, ready: true }; // for measurements

// Whether the studio is there: a banner while it is not, and the work handed in again when it comes back.

import { shared, on, tell } from "./state.js";
import { $ } from "./ui.js";

const EVERY = 2000; // ms between tries
let lost = false;

async function look() {
  let here;
  try {
    const response = await fetch("/studio/alive", { cache: "no-store" });
    if (!response.ok) throw new Error();
    ({ here } = await response.json());
  } catch {
    lost = true;
    $("#banner").hidden = false;
    setTimeout(look, EVERY);
    return;
  }
  $("#banner").hidden = true;
  lost = false;
  const anew = here !== shared.offer.here;
  shared.offer.here = here;
  tell("back", anew);
}

export function begin() {
  on("silent", () => { if (!lost) { lost = true; look(); } });
}

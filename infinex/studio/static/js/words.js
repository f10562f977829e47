// The page's words: one file for each language in ../words, chosen by the browser or by hand.

export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français", es: "Español" };
export let language = "en";
export let region = "en"; // the same as the browser writes it, for dates
let words = {};
let rules = new Intl.PluralRules("en");

export async function load() {
  const spoken = (navigator.languages ?? [navigator.language]).map((l) => l.slice(0, 2).toLowerCase());
  const wanted = [localStorage.getItem("language"), ...spoken].find((l) => l in LANGUAGES) ?? "en";
  const file = async (name) => (await fetch(`/static/words/${name}.json`)).json();
  words = await file(wanted);
  language = wanted;
  region = navigator.languages?.find((l) => l.slice(0, 2).toLowerCase() === wanted) ?? wanted;
  rules = new Intl.PluralRules(language);
  document.documentElement.lang = language;
  dress(document);
}

export function choose(name) {
  localStorage.setItem("language", name);
  location.reload(); // the work is kept, so nothing is lost
}

// The words of a key; `{name}` in them is replaced, and `n` chooses between singular and plural.
export function t(key, values = {}) {
  const exact = "n" in values ? words[`${key}.${rules.select(values.n)}`] ?? words[`${key}.other`] : undefined;
  const text = exact ?? words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? values[name] : all));
}

// What the server offers under a name, in this language; in the server's own words where it is not known here.
export const named = (kind, name, fallback) => words[`${kind}.${name}`] ?? fallback;

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
export const percent = (value) => new Intl.NumberFormat(language, { style: "percent" }).format(value);

// Words of the page's own text: data-t for what an element says, data-t-NAME for an attribute.
export function dress(root) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const name of ["aria-label", "title", "placeholder", "alt", "aria-roledescription"]) {
    for (const node of root.querySelectorAll(`[data-t-${name}]`)) node.setAttribute(name, t(node.getAttribute(`data-t-${name}`)));
  }
}

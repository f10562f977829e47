// Small things every part of the page uses.

import { t } from "./words.js";

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "text") node.textContent = value;
    else if (key === "class") node.className = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// Whether a button can be used. One that has the focus keeps it, so that a keyboard does not lose its place.
export function able(button, yes) {
  const stays = !yes && button === document.activeElement;
  if (stays && button.hasAttribute("aria-disabled")) return;
  button.disabled = !yes && !stays;
  button.removeAttribute("aria-disabled");
  if (!stays) return;
  button.setAttribute("aria-disabled", "true");
  button.addEventListener("blur", () => { if (button.hasAttribute("aria-disabled")) able(button, false); }, { once: true });
}

document.addEventListener("click", (e) => {
  if (!e.target.closest?.('button[aria-disabled="true"]')) return;
  e.preventDefault();
  e.stopImmediatePropagation();
}, true);

// One button takes the place of another, and its focus.
export function instead(old, other) {
  const focused = old === document.activeElement;
  [old.hidden, other.hidden] = [true, false];
  if (focused) other.focus();
}

// New contents of a place. The focus goes to what stands where the focused one stood; where nothing is left, to `other`.
export function refill(place, nodes, other) {
  const at = [...place.children].findIndex((c) => c.contains(document.activeElement));
  place.replaceChildren(...nodes);
  if (at < 0) return;
  const now = place.children[Math.min(at, place.children.length - 1)];
  (now && $("a[href], button, input", now) || other)?.focus();
}

// One message at a time, so that they do not pile up; it stays while somebody is reading it.
let leaving = null;

export function toast(text, seconds = Math.max(6, text.length / 12)) {
  clearTimeout(leaving);
  const close = make("button", { class: "toast-close", "aria-label": t("close"), text: "×", onclick: () => box.remove() });
  const box = make("div", { class: "toast" }, make("span", { text }), close);
  $("#toasts").replaceChildren(box);
  const later = () => {
    leaving = setTimeout(() => (box.matches(":hover, :focus-within") ? later() : box.remove()), seconds * 1000);
  };
  later();
}

export const sayError = (error) => toast(error?.message || t("error.unknown"));

// The coloured part of a slider, and its number.
export function dress(input, words) {
  const show = () => {
    const low = Number(input.min), high = Number(input.max);
    input.style.setProperty("--fill", `${(100 * (input.value - low)) / (high - low)}%`);
    const out = input.parentElement.querySelector("output");
    const text = words(Number(input.value));
    if (out) out.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", show);
  input.show = show;
  show();
  return input;
}

export function drops(node, take) {
  node.addEventListener("dragover", (e) => { e.preventDefault(); node.classList.add("over"); });
  node.addEventListener("dragleave", () => node.classList.remove("over"));
  node.addEventListener("drop", (e) => {
    e.preventDefault();
    e.stopPropagation();
    node.classList.remove("over");
    if (e.dataTransfer.files[0]) take(e.dataTransfer.files[0]);
  });
}

export async function camera(constraints) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(t("camera.insecure"));
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw new Error(error.name === "NotAllowedError"
      ? t("camera.refused") : error.name === "NotReadableError" ? t("camera.taken") : t("camera.none"));
  }
}

export const stopTracks = (stream) => stream?.getTracks().forEach((t) => t.stop());

// Tabs inside a card: arrow keys move between them.
export function tablist(node, chosen) {
  const tabs = () => $$('[role="tab"]', node).filter((t) => !t.hidden);
  const choose = (tab, focus) => {
    for (const t of $$('[role="tab"]', node)) {
      const on = t === tab;
      t.setAttribute("aria-selected", on);
      t.tabIndex = on ? 0 : -1;
      document.getElementById(t.getAttribute("aria-controls")).hidden = !on;
    }
    if (focus) tab.focus();
    chosen(tab);
  };
  node.addEventListener("click", (e) => { const t = e.target.closest('[role="tab"]'); if (t) choose(t); });
  node.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    e.preventDefault();
    const all = tabs();
    choose(all[(all.indexOf(document.activeElement) + step + all.length) % all.length], true);
  });
  return choose;
}

export function time(seconds) {
  const s = Math.max(1, Math.round(seconds));
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
}

export const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
};

export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

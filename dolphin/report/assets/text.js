"use strict";
/* Elements and numbers for every page. Text from data enters a page only through textContent or esc(). */
function el(tag, attrs, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value == null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child != null) node.append(child);
  return node;
}

const esc = (value) => String(value).replace(/[&<>"']/g, (c) => "&#" + c.charCodeAt(0) + ";");
const tidy = (text) => text.replace(/^-(?=[0.,]*(?: %)?$)/, "").replace("-", "\u2212");
const num = (x, digits = 2, plus = false) => {
  if (x == null) return "n/a";
  if (Math.abs(x) >= 1e15) return tidy(x.toExponential(3));
  const text = tidy(x.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return plus && x > 0 && !/^[0.,]*$/.test(text) ? "+" + text : text;
};
const pct = (x, digits = 1, plus = true) => (x == null ? "n/a" : num(100 * x, digits, plus) + " %");
const usd = (x, plus = false) => num(x, Math.abs(x || 0) < 1000 ? 2 : 0, plus);
const bps = (x, plus = true) => num(x, 1, plus);
const sig = (x) => (x == null ? "n/a" : tidy(String(+x.toPrecision(6))));
const iso = (ts) => (Math.abs(ts) <= 8.64e15 ? new Date(ts).toISOString() : "????-??-??T??:??:??.???Z");
const minute = (ts) => iso(ts).slice(0, 16).replace("T", " ");
const clock = (ts) => iso(ts).slice(11, 16);
const tone = (x) => (x > 0 ? "gain" : x < 0 ? "loss" : "");
const many = (n, noun) => num(n, 0) + " " + noun + (n === 1 ? "" : "s");
const lasting = (ms) => {
  const m = Math.round(ms / 6e4);
  return m < 60 ? m + " min" : m < 2880 ? Math.floor(m / 60) + " h" + (m % 60 ? " " + (m % 60) + " min" : "") : num(m / 1440, 1) + " d";
};

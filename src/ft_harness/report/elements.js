
"use strict";
// Text reaches the page as text nodes only. Nothing here is essential: the page can be read without it.

// --- elements ------------------------------------------------------------------------------------------------

const make = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
};

// The keyboard reaches what can be scrolled, and nothing else.
const reachScrolled = (texts) => {
  const scrolled = [...texts].filter((text) => text.scrollHeight > text.clientHeight);
  scrolled.forEach((text) => Object.assign(text, { tabIndex: 0 }));
};

const option = (value, shown) => {
  const made = make("option", "", shown);
  made.value = value;
  return made;
};

const shape = (name, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
};

const bar = (share) => {
  const made = shape("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  made.append(shape("rect", { class: "whole", width: 100, height: 10 }));
  made.append(shape("rect", { width: (100 * share).toFixed(1), height: 10 }));
  return made;
};

const makeTable = (title, heads, rows) => {
  const made = make("table");
  const line = make("tr");
  line.append(...heads.map((name) => Object.assign(make("th", "", name), { scope: "col" })));
  const head = make("thead");
  head.append(line);
  const body = make("tbody");
  body.append(...rows);
  made.append(make("caption", "", title), head, body);
  return made;
};

const row = (name, cells) => {
  const made = make("tr");
  made.append(Object.assign(make("th", "", name), { scope: "row" }), ...cells);
  return made;
};

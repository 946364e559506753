// Rows that several pages show.

import { state } from "./api.js";
import { h, link, update } from "./dom.js";
import { chip, soon, span, time } from "./format.js";

/** A message in a list. */
export function messageRow(row, isNew) {
  return h("a", { class: `line message${isNew ? " fresh" : ""}`, href: `/messages/${encodeURIComponent(row.key ?? row.id)}` },
    h("span", { class: "t" }, time(row.at)),
    h("span", { class: "title" }, row.title),
    h("span", { class: "who" }, h("bdi", {}, row.who || "")),
    chip(row.standing),
    h("span", { class: "why" }, row.why ? h("span", { dir: "auto" }, row.why) : null, row.next ? ` · next ${soon(row.next)}` : null),
    h("span", { class: "took" }, row.took_ms !== null && row.took_ms !== undefined ? h("span", { title: "From the post to the send" }, span(row.took_ms)) : null));
}

/** What a page says while it has nothing to show. */
export const empty = (...text) => h("p", { class: "empty" }, text);

/** Names and values. */
export const facts = entries => h("dl", { class: "facts" }, entries.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", { dir: "auto" }, value)]));

/** The steps of a trail. */
export const trail = (steps, extra) => h("ol", { class: "trail" }, steps.map(step => h("li", {},
  h("span", { class: "t" }, time(step.at)), h("span", { class: "label", title: `code ${step.code}` }, step.label),
  h("span", { class: "why", dir: "auto" }, step.why, extra ? extra(step) : null))));

/** A section of a page with a heading. */
export const section = (title, ...children) => h("section", { class: "card" }, h("h2", {}, title), children);

export const back = (href, label) => link(href, { class: "back" }, "‹ ", label);

/** The page of one thing. `missing` is what it says if the run does not know the thing. */
export function detailPage({ title, request, missing, render }) {
  let box;
  return {
    title,
    request,
    build() {
      box = h("div", { class: "detail" });
      return [box];
    },
    refresh(route) {
      const page = state.detail;
      if (page) update(box, page, () => page.missing ? missing(route) : render(page));
    },
  };
}

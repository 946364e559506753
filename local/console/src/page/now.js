// The page "Now": what happened, newest first, and what can be tried.

import { act, rowsOf, state } from "./api.js";
import { $, h, button, fill, keyed, update } from "./dom.js";
import { chip, span, time } from "./format.js";
import { empty } from "./lists.js";
import { filters, pager } from "./app.js";

const FILTERS = [[null, "All"], ["waiting", "Waiting"], ["needs-you", "Needs you"], ["repeats", "Repeats"], ["refused", "Refused"]];

export const request = route => ({ name: "now", filter: FILTERS.some(([name]) => name && name === route.filter) ? route.filter : "all" });

let parts;
export function build(route) {
  parts = { filters: h("div", {}), rows: h("div", { class: "rows now" }), note: h("div", {}), pager: h("div", {}) };
  return [h("div", { class: "head" }, h("h1", {}, "Now"), parts.filters), parts.note, parts.rows, parts.pager];
}

export function refresh(route) {
  update(parts.filters, route.filter, () => filters("/", FILTERS, route.filter));
  const list = state.lists.list;
  if (!list) return;
  keyed(parts.rows, rowsOf("list"), nowRow);
  update(parts.note, [list.total, route.filter], () => list.total ? null : route.filter
    ? empty("Nothing of this kind has happened in this run.")
    : empty("Nothing has happened yet. Press “", state.try?.samples[0]?.label ?? "a sample", "” to let a store report an order, or post to ", h("code", {}, `${state.try?.gateway_url}/stores/…`), "."));
  update(parts.pager, [list.total, route.from], () => pager(list));
}

function nowRow(row, isNew) {
  const fresh = isNew ? " fresh" : "";
  if (row.tone === "run" && !row.sender && !row.href) return h("div", { class: `line system${fresh}` }, h("span", { class: "t" }, time(row.at)), h("span", { class: "title" }, row.title));
  const body = [
    h("span", { class: "t" }, time(row.at)),
    h("span", { class: "title" }, row.title, row.count > 1 ? h("span", { class: "times" }, ` ×${row.count}`) : null),
    h("span", { class: "who" }, h("bdi", {}, row.who || (row.sender && !row.title.startsWith(row.sender) ? row.sender : ""))),
    row.tone === "run" ? h("span", { class: "chip" }, row.followed_at ? "Waited" : "Came in") : chip(row.tone, row.read && row.tone === "arrived" ? "Read" : null),
    h("span", { class: "why", dir: "auto" }, row.followed_at ? ["until ", time(row.followed_at)] : row.text, row.waited_ms ? `after waiting ${span(row.waited_ms)}` : null),
    h("span", { class: "took" }, row.took_ms !== null && row.took_ms !== undefined ? h("span", { title: "From the post to the send" }, span(row.took_ms)) : null),
  ];
  const kind = `line ${row.tone}${fresh}`;
  if (!row.href) return h("div", { class: kind }, body);
  const [, page, ...id] = row.href.split("/");
  return h("a", { class: kind, href: `/${page}/${encodeURIComponent(id.join("/"))}` }, body);
}

/* What can be tried: at the side of "Now". */
let sameOrder = false;
export function renderTry() {
  const setup = state.try;
  if (!setup) return;
  update($("try"), [setup.samples, setup.gateway_url], () => {
    const groups = Map.groupBy ? Map.groupBy(setup.samples, sample => sample.group) : group(setup.samples);
    if (!setup.samples.length) return [h("h2", {}, "Try"), empty("This client has no store that the console has a sample for, or its secrets are missing. Post your own delivery to ", h("code", {}, `${setup.gateway_url}/stores/…`), ".")];
    const shared = [...groups].filter(([, list]) => list.some(isShared)).flatMap(([, list]) => list.filter(isShared));
    return [
      h("h2", {}, "Try"),
      [...groups].map(([name, list], index) => {
        const own = list.filter(sample => !isShared(sample));
        return own.length ? h("div", { class: "group" }, h("h3", {}, name), own.map((sample, at) => sampleButton(sample, index === 0 && at === 0))) : null;
      }),
      shared.length ? h("div", { class: "group" }, h("h3", {}, "The same again, and a forgery"), shared.map(sample => sampleButton(sample))) : null,
      h("label", { class: "check" }, h("input", { type: "checkbox", "data-key": "same", checked: sameOrder, onchange: event => { sameOrder = event.target.checked; } }), "About the store’s last order"),
    ];
  });
}
const isShared = sample => ["repeat-last", "bad-signature"].includes(sample.case);
const group = samples => samples.reduce((map, sample) => map.set(sample.group, [...(map.get(sample.group) || []), sample]), new Map());
const sampleButton = (sample, first) => button(sample.label, () => act("try", { case: sample.case, same_order: sameOrder }), { class: `btn wide${first ? " main" : ""}`, title: sample.expected, "data-key": sample.case });

// The page "Now": what happened, newest first, and what can be tried.

import { act, rowsOf, state } from "./api.js";
import { $, h, button, keyed, update } from "./dom.js";
import { chip, span, time } from "./format.js";
import { back, detailPage, empty, messageRow, section } from "./lists.js";
import { copyLink, details, replayButton } from "./messages.js";
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
    : firstSteps());
  update(parts.pager, [list.total, route.from], () => pager(list));
}

/* What a person can do first. Each step shows a promise. */
function firstSteps() {
  const samples = state.try?.samples ?? [], label = name => samples.find(sample => sample.case === name)?.label;
  if (!samples.length) return empty("Nothing has happened yet. Post a delivery to ", h("code", {}, `${state.try?.gateway_url}/stores/…`), ".");
  return h("div", { class: "card first" }, h("h2", {}, "Nothing has happened yet"), h("ol", {},
    h("li", {}, "Press ", h("b", {}, samples[0].label), " in the list of samples. A store reports an order, and its message appears on the phone."),
    h("li", {}, "Press ", h("b", {}, label("repeat-last")), ". It is recognised, and nothing more is sent."),
    h("li", {}, "Press ", h("b", {}, label("bad-signature")), ". It is refused."),
    h("li", {}, "Let the line go down at the top, and send more orders. They wait. Move the clock three hours ahead, and let the line come back: what is still useful goes out."),
    h("li", {}, "Break a line of ", h("code", {}, "client.toml"), " and save it: the page names the line and the remedy.")));
}

function nowRow(row, isNew) {
  const fresh = isNew ? " fresh" : "";
  if (row.tone === "run" && !row.sender && !row.href) return h("div", { class: `line system${fresh}` }, h("span", { class: "t" }, time(row.at)), h("span", { class: "title" }, row.title));
  const body = [
    h("span", { class: "t" }, time(row.at)),
    h("span", { class: "title" }, row.title, row.count > 1 ? h("span", { class: "times" }, ` ×${row.count}`) : null),
    h("span", { class: "who" }, h("bdi", {}, row.who || (row.sender && !row.title.startsWith(row.sender) ? row.sender : ""))),
    row.tone === "run" ? h("span", { class: "chip" }, row.followed_at ? "Waited" : "Came in") : chip(row.tone),
    h("span", { class: "why", dir: "auto" }, row.followed_at ? ["until ", time(row.followed_at)] : row.text, row.waited_ms ? `after waiting ${span(row.waited_ms)}` : null),
    h("span", { class: "took" }, row.took_ms !== null && row.took_ms !== undefined ? h("span", { title: "From the post to the send" }, span(row.took_ms)) : null),
  ];
  const kind = `line ${row.tone}${fresh}`;
  if (!row.href) return h("div", { class: kind }, body);
  const [, page, ...id] = row.href.split("/");
  return h("a", { class: kind, href: `/${page}/${encodeURIComponent(id.join("/"))}` }, body);
}

/** One delivery. */
export const one = detailPage({
  title: () => state.detail?.sender,
  request: route => ({ name: "delivery", id: route.id }),
  missing: route => [back("/", "Now"), h("h1", {}, "No such delivery"), empty("No inbox has ", h("code", {}, route.id), ".")],
  render: page => deliveryPage(page),
});

const deliveryPage = page => [
  h("div", { class: "crumbs" }, back("/", "Now"), h("span", { class: "actions" }, copyLink(), replayButton(page.id))),
  h("div", { class: "head" }, h("h1", {}, [page.sender, page.topic].filter(Boolean).join(" · "))),
  h("p", { class: "sub" }, "came in ", time(page.at)),
  h("p", { class: "headline", dir: "auto" }, page.headline),
  page.messages.length ? section("Messages", h("div", { class: "rows" }, page.messages.map(row => messageRow(row)))) : null,
  page.appointment ? h("p", {}, h("a", { href: `/appointments/${encodeURIComponent(page.appointment)}` }, "To its appointment")) : null,
  details(page.row, page.id, [["delivery", page.id], ["outcome", page.outcome]]),
];

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

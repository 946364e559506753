// The pages "Messages" and "one message".

import { act, deliveryBody, rowsOf, notify, state } from "./api.js";
import { h, button, keyed, more, update, link } from "./dom.js";
import { STANDINGS, chip, rawValue, time } from "./format.js";
import { back, detailPage, empty, facts, messageRow, section, trail } from "./lists.js";
import { filters, pager } from "./app.js";

export const request = route => ({ name: "messages", standing: STANDINGS[route.filter] ? route.filter : null, search: route.search });

let parts;
export function build() {
  parts = { filters: h("div", {}), rows: h("div", { class: "rows" }), note: h("div", {}), pager: h("div", {}), deliveries: h("div", {}) };
  return [h("div", { class: "head" }, h("h1", {}, "Messages"), parts.filters), parts.note, parts.rows, parts.pager, parts.deliveries];
}

export function refresh(route) {
  const list = state.lists.list;
  if (!list) return;
  const all = Object.values(list.counts || {}).reduce((sum, n) => sum + n, 0);
  const tabs = [[null, "All", all], ...Object.entries(STANDINGS).map(([name, label]) => [name, label, list.counts?.[name] ?? 0])];
  update(parts.filters, [tabs, route.filter, route.search], () => filters("/messages", tabs, route.filter));
  keyed(parts.rows, rowsOf("list"), messageRow);
  update(parts.note, [list.total, route.search, route.filter], () => list.total ? null : route.search
    ? empty("No message has ", h("b", { dir: "auto" }, route.search), " in its order, number, phone or name.")
    : empty("No message stands like this."));
  update(parts.pager, [list.total, route.from], () => pager(list));
  const deliveries = rowsOf("deliveries");
  update(parts.deliveries, [deliveries, state.lists.deliveries?.total], () => deliveries.length ? section("Deliveries with it that led to no message",
    deliveries.length < state.lists.deliveries.total ? h("p", { class: "soft" }, `The newest ${deliveries.length} of ${state.lists.deliveries.total.toLocaleString("en")}.`) : null,
    h("ul", { class: "found" }, deliveries.map(delivery => h("li", {}, h("span", { class: "t" }, time(delivery.at)), h("b", {}, delivery.sender), delivery.topic ? ` ${delivery.topic}` : "",
      h("p", { dir: "auto" }, link(`/deliveries/${encodeURIComponent(delivery.id)}`, {}, delivery.text ?? "Recorded, without a message.")))))) : null);
}

/* The body of a delivery, behind a disclosure. */
const bodyOf = id => more("The body of the delivery", () => { const box = h("pre", {}, "…"); deliveryBody(id).then(body => { box.textContent = body; }); return box; });

export const one = detailPage({
  title: () => state.detail?.title,
  request: route => ({ name: "message", id: route.id }),
  missing: route => [back("/messages", "Messages"), h("h1", {}, "No such message"), empty("The ledger has no ", h("code", {}, route.id), ". A new state (", h("code", {}, "cargo run -- --fresh"), ") forgets all messages.")],
  render: page => messagePage(page),
});

function messagePage(page) {
  return [
    h("div", { class: "crumbs" }, back("/messages", "Messages"), h("span", { class: "actions" }, copyLink(), page.has_delivery ? replayButton(page.delivery) : null)),
    h("div", { class: "head" }, h("h1", {}, page.title), chip(page.standing)),
    h("p", { class: "sub" }, page.customer ? link(`/customers/${page.customer}`, {}, h("bdi", {}, page.who)) : null, page.to ? [" · ", h("span", { dir: "ltr" }, page.to)] : null, ` · line ${page.line}`, page.appointment ? [" · ", link(`/appointments/${encodeURIComponent(page.subject)}`, {}, `appointment on ${page.appointment}`)] : null),
    h("p", { class: `headline ${page.standing}`, dir: "auto" }, page.headline),
    section("What happened", trail(page.steps), page.may_lack_steps ? h("p", { class: "soft" }, "The trail is full: steps after the fourth may be missing.") : null),
    h("div", { class: "two" },
      section(page.standing === "sent" || page.standing === "arrived" ? "What was sent" : page.text ? "What would be sent" : "Its text",
        page.text ? h("div", { class: "bubble", dir: "auto" }, page.text, page.button ? h("span", { class: "cta" }, page.button.displayText) : null) : h("p", { class: "soft" }, "It has no text, because it is not to be sent.")),
      section("What decided", facts([
        ["section", page.section ? h("code", {}, page.section.title) : null],
        ["in", page.section ? `client.toml:${page.section.line}` : null],
        ["language", page.language],
        ["useful until", page.useful_until ? time(page.useful_until) : null],
        ["next try", page.next ? time(page.next) : null],
      ]))),
    page.siblings.length ? section("Other messages of this subject", h("div", { class: "rows" }, page.siblings.map(row => messageRow(row)))) : null,
    details(page.row, page.has_delivery ? page.delivery : null, [["idempotency key", page.key], ["state", page.state], ["delivery", page.has_delivery ? link(`/deliveries/${encodeURIComponent(page.delivery)}`, {}, page.delivery) : page.delivery]]),
  ];
}

/** The raw row and the body behind disclosures. */
export function details(row, delivery, first) {
  const raw = Object.entries(row).filter(([name]) => name !== "request").sort(([a], [b]) => a.localeCompare(b));
  return h("div", { class: "card" }, h("h2", {}, "Details"),
    facts(first),
    more("The row", () => facts(raw.map(([name, value]) => [name, rawValue(name, value)]))),
    row.request ? more("The request to the provider", () => h("pre", {}, pretty(row.request))) : null,
    delivery ? bodyOf(delivery) : null);
}
export const pretty = text => { try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; } };

export const copyLink = () => button("Copy link", async () => {
  try { await navigator.clipboard.writeText(location.href); notify("The link is copied"); } catch { notify(location.href); }
}, { class: "btn quiet" });

/** A replay sends nothing twice: the message has its key already. */
export const replayButton = delivery => button("Process again", () => act("replay", { id: delivery }), { class: "btn quiet", title: "The function processes the delivery once more. Nothing is sent twice, because the message has its key already" });

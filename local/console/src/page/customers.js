// The pages "Customers" and "one customer".

import { act, rowsOf, state } from "./api.js";
import { h, button, keyed, update } from "./dom.js";
import { STANDINGS, chip, count, time, when } from "./format.js";
import { back, detailPage, empty, messageRow, section } from "./lists.js";
import { copyLink } from "./messages.js";
import { pager } from "./app.js";

export const request = route => ({ name: "customers", search: route.search });

let parts;
export function build() {
  parts = { rows: h("div", { class: "rows" }), note: h("div", {}), pager: h("div", {}) };
  return [h("div", { class: "head" }, h("h1", {}, "Customers")), parts.note, parts.rows, parts.pager];
}

export function refresh(route) {
  const list = state.lists.list;
  if (!list) return;
  keyed(parts.rows, rowsOf("list"), customerRow);
  update(parts.note, [list.total, route.search], () => list.total ? null : route.search
    ? empty("No customer has ", h("b", { dir: "auto" }, route.search), " in the name or the number.")
    : empty("No customer yet. The first message about an order, an appointment or a lead makes one."));
  update(parts.pager, [list.total, route.from], () => pager(list));
}

const customerRow = (row, isNew) => h("a", { class: `line customer${isNew ? " fresh" : ""}`, href: `/customers/${row.id}` },
  h("span", { class: "t" }, time(row.at)),
  h("span", { class: "title" }, h("bdi", {}, row.name || "Unknown name")),
  h("span", { class: "who", dir: "ltr" }, row.phone),
  h("span", { class: "standings" }, Object.entries(row.counts || {}).map(([name, n]) => h("span", { class: `chip ${name}` }, `${n} ${STANDINGS[name].toLowerCase()}`))),
  h("span", { class: "why", dir: "auto" }, row.last || ""));

const converse = (action, text) => act("conversation", { action, contact: state.detail.phone, line: line(), text: text ?? "" });
const line = () => (state.detail.conversation.at(-1)?.line) ?? (state.try?.event_lines.find(one => one.events) ?? state.try?.event_lines[0])?.id;

const AUTHORS = { customer: "Customer", tellonce: "tellonce", team: "Team" };
const STATUS = { sent: "sent", delivered: "arrived", read: "read", failed: "failed" };

export const one = detailPage({
  title: () => state.detail?.name || "Customer",
  request: route => ({ name: "customer", id: route.id }),
  missing: route => [back("/customers", "Customers"), h("h1", {}, "No such customer"), empty(`Nothing was sent to the customer ${route.id} in this state.`)],
  render: page => customerPage(page),
});

function customerPage(page) {
  const counts = page.messages.reduce((all, row) => ({ ...all, [row.standing]: (all[row.standing] ?? 0) + 1 }), {});
  const words = Object.entries(STANDINGS).filter(([name]) => counts[name]).map(([name, label]) => `${counts[name]} ${label.toLowerCase()}`);
  return [
    h("div", { class: "crumbs" }, back("/customers", "Customers"), h("span", { class: "actions" }, copyLink())),
    h("div", { class: "head" }, h("h1", {}, h("bdi", {}, page.name || "Unknown name")), page.phone_off ? chip("waiting", "Phone is off") : null),
    h("p", { class: "sub", dir: "ltr" }, page.phone),
    h("p", { class: "headline" }, page.messages.length ? `${count(page.messages.length, "message")}: ${words.join(", ")}.` : "tellonce has no message for this number. What came in for it has its reason on the page Now."),
    section("Messages", page.messages.length ? h("div", { class: "rows" }, page.messages.map(row => messageRow(row))) : empty("None.")),
    section("Conversation",
      page.waits ? h("p", { class: "soft" }, "Waits for an answer since ", time(page.waits.since), page.waits.next_check ? [". The alert for that is checked next at ", time(page.waits.next_check), "."] : ".") : null,
      page.conversation.length ? h("ol", { class: "conversation" }, page.conversation.map(message => turn(message))) : empty("Nothing was written on the line."),
      replyForm(),
      h("div", { class: "row" },
        button("Reads everything", () => converse("read"), { class: "btn quiet", title: "The customer reads all messages that arrived" }),
        page.phone_off ? button("Turn the phone on", () => converse("phone_on"), { class: "btn quiet" })
          : button("Turn the phone off", () => converse("phone_off"), { class: "btn quiet", title: "The line accepts messages, and they do not arrive" }),
        page.conversation.some(message => message.author !== "customer") ? button("The last message fails", () => converse("fail"), { class: "btn quiet" }) : null)),
    page.alerts.length ? section("Alerts to the team", page.alerts.map(alert => h("article", { class: "alert" },
      h("p", { class: "soft" }, `${alert.target} · `, time(alert.at), alert.repeats ? ` · posted again ${alert.repeats} times, and recognised` : ""),
      alert.subject ? h("h3", { dir: "auto" }, alert.subject) : null, h("p", { class: "text", dir: "auto" }, alert.text)))) : null,
  ];
}

/* Writes as the customer, or replies as the team in the provider's app. */
function replyForm() {
  const input = h("input", { "aria-label": "Text", placeholder: "Write …", autocomplete: "off", dir: "auto", "data-key": "talk", class: "grow" });
  const send = async action => { const text = input.value.trim(); input.value = ""; await action(text); };
  return h("form", { class: "row", onsubmit: event => { event.preventDefault(); send(text => converse("write", text)); } }, input,
    h("button", { class: "btn main", type: "submit" }, "As the customer"),
    button("As the team", () => send(text => converse("team_reply", text)), { title: "In the provider’s app, and not through its API" }),
    button("Send a picture", () => send(text => converse("picture", text)), { class: "btn quiet", title: "As the customer, with the text as its caption" }));
}

const turn = message => h("li", { class: message.author },
  h("span", { class: "t" }, time(message.at)),
  h("div", {}, h("p", { class: "soft" }, AUTHORS[message.author], message.author === "customer" ? "" : ` · ${STATUS[message.status] ?? message.status}`,
    message.crms.map(crmMark)),
    h("p", { class: "text", dir: "auto" }, message.kind === "text" ? null : h("span", { class: "chip" }, message.kind), message.kind === "text" ? message.body : ` ${message.body}`)));

/* Whether a CRM has its entry, and else why not. */
function crmMark({ crm, count: n, repeats, state: task, reason }) {
  const words = n > 1 ? `${crm} ×${n}` : n ? `${crm} ✓` : task === "skipped" ? `${crm}: skipped, ${reason}` : reason ? `${crm} waits: ${reason}` : `${crm} …`;
  const title = n ? `${count(n, "entry", "entries")} in ${crm}${repeats ? `; posted again ${repeats} times, and recognised` : ""}` : reason ? null : "Its entry is written when its queue has its turn";
  return h("span", { class: `mark ${n === 1 ? "good" : n ? "bad" : ""}`, title }, words);
}

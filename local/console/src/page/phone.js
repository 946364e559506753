// The customer's phone: follows the newest message, unless a person chose a phone, scrolls or types.

import { act, rowsOf, state } from "./api.js";
import { $, h, keyed, update, link, fill } from "./dom.js";
import { day, minute } from "./format.js";
import { request } from "./app.js";

let chosen = null, built = null, parts;
/* How many messages of each phone were on the screen. */
const seenCounts = new Map(JSON.parse(sessionStorage.getItem("phones") || "[]"));

/** Which phone is asked for: the chosen one, else the one with the newest message. */
export const phoneRequest = () => ({ phone: chosen });

function choose(id) {
  if (chosen === id) return;
  chosen = id;
  request();
}

function build() {
  parts = {
    mode: h("button", { type: "button", class: "btn quiet mode", onclick: () => choose(chosen ? null : state.lists.chat?.person) }),
    people: h("div", { class: "people" }),
    chat: h("div", { class: "chat", tabindex: "0", role: "log", "aria-label": "Messages on this phone" }),
    text: h("input", { "aria-label": "Write as this customer", placeholder: "Write as this customer", autocomplete: "off", dir: "auto", oninput: () => choose(state.lists.chat?.person) }),
  };
  parts.form = h("form", { class: "write", onsubmit: write }, parts.text, h("button", { class: "btn", type: "submit" }, "Send"));
  parts.chat.addEventListener("wheel", holdIfScrolled, { passive: true });
  parts.chat.addEventListener("touchmove", holdIfScrolled, { passive: true });
  parts.chat.addEventListener("keydown", holdIfScrolled);
  fill($("phone"), h("div", { class: "phonehead" }, h("h2", {}, "Phone"), parts.mode), parts.people, parts.chat, parts.form);
  built = true;
}

function holdIfScrolled() {
  requestAnimationFrame(() => { if (!isAtEnd()) choose(state.lists.chat?.person); });
}
const isAtEnd = () => parts.chat.scrollHeight - parts.chat.scrollTop - parts.chat.clientHeight < 40;

async function write(event) {
  event.preventDefault();
  const text = parts.text.value.trim(), chat = state.lists.chat;
  if (!text || !chat?.person) return;
  parts.text.value = "";
  const person = state.phones.all.find(one => one.id === chat.person);
  await act("phone", { from: person?.phone ?? chat.phone, text, line: chat.line });
}

export function renderPhone() {
  if (!built) build();
  const phones = state.phones?.all ?? [], chat = state.lists.chat, person = chat?.person ?? null;
  if (!chat) return;
  const isShown = parts.chat.offsetParent !== null;
  for (const one of phones) {
    if ((one.id === person && isShown) || !seenCounts.has(one.id)) seenCounts.set(one.id, one.id === person || !seenCounts.size ? one.received : seenCounts.get(one.id) ?? 0);
  }
  sessionStorage.setItem("phones", JSON.stringify([...seenCounts]));
  update(parts.mode, [chosen, Boolean(person)], () => chosen ? "Pinned. Follow the newest" : "Follows the newest");
  parts.mode.hidden = !person;
  parts.mode.setAttribute("aria-pressed", String(Boolean(chosen)));
  const unread = one => one.id === person ? 0 : Math.max(0, one.received - (seenCounts.get(one.id) ?? 0));
  update(parts.people, [phones.map(one => [one.id, one.name, one.phone, unread(one)]), person, state.phones?.total], () => [
    phones.map(one => h("button", { type: "button", "data-key": one.id, "aria-pressed": String(one.id === person), onclick: () => choose(one.id) },
      h("bdi", {}, one.name || one.phone), unread(one) ? h("span", { class: "unread", "aria-label": `${unread(one)} unread` }, unread(one)) : null)),
    (state.phones?.total ?? 0) > phones.length ? link("/customers", { class: "all" }, `all ${state.phones.total.toLocaleString("en")}`) : null,
  ]);
  parts.form.hidden = !person;
  const stay = parts.chat.dataset.person === person && !isAtEnd();
  const rows = rowsOf("chat");
  update(parts.chat.parentNode.querySelector(".contact") ?? addContact(), [person, chat.phone, chat.name], () => person ? [link(`/customers/${person}`, {}, h("bdi", {}, chat.name || "Customer")), " ", h("span", { dir: "ltr", class: "soft" }, chat.phone)] : "");
  if (rows.length) {
    parts.chat.querySelector(".empty")?.remove();
    keyed(parts.chat, withDays(rows), bubble);
  } else {
    fill(parts.chat, h("p", { class: "empty" }, "No message yet. The first one about an order, an appointment or a lead appears here."));
  }
  if (!stay) parts.chat.scrollTop = parts.chat.scrollHeight;
  parts.chat.dataset.person = person ?? "";
}

function addContact() {
  const node = h("p", { class: "contact" });
  parts.chat.before(node);
  return node;
}

/* The messages, with the day before the first one of each day. */
function withDays(rows) {
  let last = "";
  return rows.flatMap(row => {
    const label = day(row.at), head = label === last ? [] : [{ id: `day-${label}-${row.id}`, day: label }];
    last = label;
    return [...head, row];
  });
}

const TICKS = { sent: "✓", delivered: "✓✓", read: "✓✓ read" };
function bubble(row, isNew) {
  if (row.day) return h("div", { class: "day" }, row.day);
  // The phone is the customer's, so messages of the line are on the other side.
  return h("div", { class: `bubble${row.mine ? " mine" : ""}${row.waits ? " waits" : ""}${isNew ? " fresh" : ""}` },
    h("div", { class: "text", dir: "auto" }, row.kind === "text" ? row.body : [h("span", { class: "chip" }, row.kind), row.body ? ` ${row.body}` : null]),
    row.button ? h("a", { class: "cta", href: row.button.url, target: "_blank", rel: "noreferrer noopener", dir: "auto" }, row.button.displayText) : null,
    h("div", { class: "meta" }, row.key ? link(`/messages/${encodeURIComponent(row.key)}`, {}, "why") : null, h("span", {}, minute(row.at)), row.mine ? null : h("span", {}, TICKS[row.status] ?? row.status)));
}

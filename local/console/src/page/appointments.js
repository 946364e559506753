// The pages "Appointments" and "one appointment".

import { act, rowsOf, state } from "./api.js";
import { h, button, keyed, more, update, link } from "./dom.js";
import { KINDS, chip, soon, when } from "./format.js";
import { back, detailPage, empty, facts, messageRow, section, trail } from "./lists.js";
import { copyLink, details, replayButton } from "./messages.js";
import { pager } from "./app.js";

const STATUS = { booked: ["Takes place", "arrived"], unconfirmed: ["Not confirmed", "waiting"], cancelled: ["Cancelled", "skipped"], moved: ["Moved", "skipped"] };

export const request = route => ({ name: "appointments", search: route.search });

let parts, start = null;
export function build() {
  parts = { book: h("div", {}), rows: h("div", { class: "rows" }), note: h("div", {}), pager: h("div", {}) };
  return [h("div", { class: "head" }, h("h1", {}, "Appointments")), parts.book, parts.note, parts.rows, parts.pager];
}

export function refresh(route) {
  const calendars = state.try?.calendars ?? [];
  update(parts.book, [calendars, state.try?.default_start], () => bookForm(calendars));
  const list = state.lists.list;
  if (!list) return;
  keyed(parts.rows, rowsOf("list"), appointmentRow);
  update(parts.note, [list.total, route.search, calendars.length], () => list.total ? null : route.search
    ? empty("No appointment has ", h("b", { dir: "auto" }, route.search), " in its id, title, name or number.")
    : empty(calendars.length ? "No appointment yet. Book one above, then move the clock to the next due time." : "This client has no calendar."));
  update(parts.pager, [list.total, route.from], () => pager(list));
}

const appointmentRow = (row, isNew) => {
  const [label, tone] = STATUS[row.status] ?? [row.status, "needs-you"];
  return h("a", { class: `line appointment${isNew ? " fresh" : ""}`, href: `/appointments/${encodeURIComponent(row.id)}` },
    h("span", { class: "t wide" }, row.when),
    h("span", { class: "title" }, row.title ? h("bdi", {}, row.title) : row.calendar),
    h("span", { class: "who" }, row.people.length ? h("bdi", {}, row.people.map(person => person.name || person.phone).join(", ")) : "no number"),
    chip(tone, label),
    h("span", { class: "why" }, [row.title ? row.calendar : null, row.next ? `next reminder ${soon(row.next)}` : null].filter(Boolean).join(" · ")));
};

function bookForm(calendars) {
  if (!calendars.length) return null;
  const input = h("input", { type: "datetime-local", step: "60", id: "book-start", "data-key": "book-start", value: start ?? state.try.default_start ?? "", onchange: event => { start = event.target.value; } });
  return more("Book, move or cancel one as a customer would", () => [
    h("label", { class: "field", for: "book-start" }, `Begins (${state.bar?.zone})`, input),
    calendars.map(one => h("div", { class: "group" },
      h("h3", {}, `${one.name} · ${KINDS[one.kind] ?? one.kind}`),
      one.available ? h("div", { class: "row" },
        button(one.is_feed ? "Add" : "Book", () => act("book", { calendar: one.name, action: "book", start: input.value }), { "data-key": `book-${one.name}` }),
        one.has_current ? [
          button("Move", () => act("book", { calendar: one.name, action: "move", start: input.value }), { "data-key": `move-${one.name}`, title: "The last one, to the time above, or by a day if it begins then" }),
          button(one.is_feed ? "Remove" : "Cancel", () => act("book", { calendar: one.name, action: "cancel", start: input.value }), { "data-key": `cancel-${one.name}` }),
        ] : null,
        one.is_feed ? button("Read the edited file", () => act("feeds", { calendar: one.name }), { class: "btn quiet", title: "Its file is in the client’s folder feeds" }) : null,
        one.suspect ? button("Accept the next read", () => act("feeds", { calendar: one.name, accept_next_read: true }), { class: "btn quiet" }) : null)
        : h("p", { class: "soft" }, "Its secrets are missing."),
      one.problem ? h("p", { class: "soft", dir: "auto" }, one.problem) : null)),
  ], { open: state.lists.list?.total ? null : true, class: "more card" });
}

export const one = detailPage({
  title: () => state.detail?.when,
  request: route => ({ name: "appointment", id: route.id }),
  missing: route => [back("/appointments", "Appointments"), h("h1", {}, "No such appointment"), empty("The ledger has no ", h("code", {}, route.id), ".")],
  render: page => appointmentPage(page),
});

function appointmentPage(page) {
  const [label, tone] = STATUS[page.status] ?? [page.status, "needs-you"];
  return [
    h("div", { class: "crumbs" }, back("/appointments", "Appointments"), h("span", { class: "actions" }, copyLink(), page.has_delivery ? replayButton(page.row.delivery) : null)),
    h("div", { class: "head" }, h("h1", {}, page.when), chip(tone, label)),
    h("p", { class: "sub" }, page.title ? [h("bdi", {}, page.title), " · "] : null, `calendar ${page.calendar}`, page.people.map(person => [" · ", person.customer ? link(`/customers/${person.customer}`, {}, h("bdi", {}, person.name || person.phone)) : h("bdi", {}, person.name || person.phone || "no number")])),
    h("p", { class: "headline" }, page.headline),
    section("What happened", trail(page.steps, step => step.begins_at ? `: ${when(step.begins_at)}` : null)),
    section("Reminders",
      page.messages.length ? h("div", { class: "rows" }, page.messages.map(row => messageRow(row))) : null,
      page.unsent.length ? h("ul", { class: "plain" }, page.unsent.map(unsent => h("li", {}, h("b", {}, unsent.stage), ` for ${when(unsent.begins_at)}: `, h("span", { title: unsent.code }, unsent.why)))) : null,
      page.messages.length || page.unsent.length ? null : h("p", { class: "soft" }, page.next ? `None yet. The next one is planned for ${when(page.next)}.` : "None.")),
    page.section ? section("What decides", facts([["section", h("code", {}, page.section.title)], ["in", `client.toml:${page.section.line}`]])) : null,
    details(page.row, page.has_delivery ? page.row.delivery : null, [["subject", page.id], ["delivery", page.row.delivery]]),
  ];
}

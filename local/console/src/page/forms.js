// The page "Forms": leads, what each led to, and what waits for a release.

import { act, rowsOf, state } from "./api.js";
import { h, button, keyed, more, update } from "./dom.js";
import { KINDS, chip, count, time } from "./format.js";
import { empty, messageRow } from "./lists.js";
import { filters, pager } from "./app.js";

const ACTIONS = {
  repeat: ["The same again", "The last delivery once more, with a new signature"],
  "same-person": ["The same person again", "The last person on this form submits it again"],
  test: ["A test lead", "A test in the sender’s own form: no greeting"],
  "without-consent": ["Without consent", "The checkbox is not ticked: no greeting"],
  crowd: ["200 at once", "The number above, two hundred times at one moment: one greeting"],
  flood: ["A flood", "More leads than the form’s limit, each with another number: the form is held"],
};

export const request = route => ({ name: "forms", form: route.filter });

let parts, chosen = null, number = "052-555-0147";
export function build() {
  parts = { submit: h("div", {}), held: h("div", {}), filters: h("div", {}), rows: h("div", { class: "rows" }), note: h("div", {}), pager: h("div", {}) };
  return [h("div", { class: "head" }, h("h1", {}, "Forms"), parts.filters), parts.held, parts.submit, parts.note, parts.rows, parts.pager];
}

export function refresh(route) {
  const forms = rowsOf("forms"), list = state.lists.list;
  if (!state.lists.forms || !list) return;
  update(parts.filters, [forms.map(one => [one.id, one.leads]), route.filter], () => filters("/forms", [[null, "All", forms.reduce((sum, one) => sum + one.leads, 0)], ...forms.filter(one => one.leads || one.id === route.filter).map(one => [one.id, one.id, one.leads])], route.filter));
  update(parts.held, forms.map(one => [one.id, one.held_since, one.waiting]), () => forms.filter(one => one.held_since || one.waiting).map(heldForm));
  update(parts.submit, [forms, chosen], () => submitForm(forms));
  keyed(parts.rows, rowsOf("list"), leadRow);
  update(parts.note, [list.total, forms.length], () => list.total ? null : empty(forms.length ? "No lead yet. Submit a form twice: the first lead is greeted, and the second has the reason why it is not." : "This client has no form."));
  update(parts.pager, [list.total, route.from], () => pager(list));
}

const heldForm = one => h("div", { class: "card held" },
  h("p", {}, h("b", {}, one.id), ` had more than ${one.burst} leads at once. ${count(one.waiting, "lead waits", "leads wait")} until you release them`, one.held_since ? [", since ", time(one.held_since)] : "", "."),
  h("div", { class: "row" },
    button("Release", () => act("release", { form: one.id }), { class: "btn main", "data-key": `release-${one.id}`, title: "Greets the leads that wait, as new ones" }),
    button("Drop", () => act("release", { form: one.id, drop: true }), { "data-key": `drop-${one.id}`, title: "Drops the leads that wait, without a greeting" })));

function submitForm(forms) {
  if (!forms.length) return null;
  const form = forms.find(one => one.id === chosen) ?? forms.find(one => one.has_submission) ?? forms[0];
  const input = h("input", { type: "tel", id: "lead-phone", "data-key": "lead-phone", value: number, dir: "ltr", autocomplete: "off", spellcheck: "false", oninput: event => { number = event.target.value; } });
  const submit = (id, action) => act("lead", { form: id, action, phone: input.value });
  const possible = ([action]) => !(["repeat", "same-person"].includes(action) && !form.has_submission) && !(action === "test" && !form.can_flag_tests) && !(action === "without-consent" && !form.can_withhold_consent);
  return more("Submit one as a lead would", () => [
    h("div", { class: "row" }, h("label", { class: "field", for: "lead-phone" }, "Number of the lead", input),
      h("label", { class: "field", for: "lead-form" }, "Form", h("select", { id: "lead-form", "data-key": "lead-form", onchange: event => { chosen = event.target.value; refresh({ filter: new URLSearchParams(location.search).get("filter"), from: 0 }); } },
        forms.map(one => h("option", { value: one.id, selected: one === form }, `${one.id} · ${KINDS[one.kind] ?? one.kind}`))))),
    form.available ? h("div", { class: "row" },
      button("Submit", () => submit(form.id, "submit"), { class: "btn main", title: "One delivery, one greeting" }),
      Object.entries(ACTIONS).filter(possible).map(([action, [label, title]]) => button(label, () => submit(form.id, action), { title })))
      : h("p", { class: "soft" }, "Its secrets are missing."),
  ], { open: true, class: "more card" });
}

function leadRow(row, isNew) {
  if (row.key) return messageRow({ ...row, title: row.form }, isNew);
  const waits = row.outcome === "held-for-review";
  return h("div", { class: `line message${isNew ? " fresh" : ""}` },
    h("span", { class: "t" }, time(row.at)), h("span", { class: "title" }, row.form), h("span", { class: "who" }),
    row.outcome ? chip(waits ? "waiting" : "skipped") : h("span", { class: "chip run" }, "Came in"),
    h("span", { class: "why", dir: "auto" }, row.outcome_text ?? row.outcome ?? "no message yet"), h("span", { class: "took" }));
}

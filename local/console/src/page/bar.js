// The bar over every page: line, what waits, what went out, the clock; and what is wrong.

import { act, state } from "./api.js";
import { $, h, button, keyed, link, update } from "./dom.js";
import { HEALTH, clock, count, day, minute, now, soon, span, time } from "./format.js";

const FAULTS = [
  ["too_many_requests", "429", "Too many requests, and a minute’s pause"],
  ["timeout_after_accept", "Time-out after accepting", "The message is queued, and the response never arrives"],
  ["server_error_before_accept", "500", "An error, and nothing is queued"],
  ["drop_before_accept", "Broken connection", "The connection ends, and nothing is queued"],
];

export function renderBar() {
  const bar = state.bar, n = number => h("b", {}, number.toLocaleString("en"));
  const plain = (id, href, tone, data, build, title) => ({ id, data, build: () => link(href, { class: `item ${tone}`, "data-key": id, title }, build()) });
  const items = [
    ...bar.lines.map(line => ({ id: `line-${line.name}`, data: [line, state.try?.fault], build: () => linePop(line) })),
    bar.lines.length ? null : { id: "no-line", data: 0, build: () => h("span", { class: "item" }, h("span", { class: "dot bad" }), "no line") },
    plain("waiting", "/messages?filter=waiting", bar.waiting ? "warn" : "", [bar.waiting, bar.reasons, bar.lines], () => waitWords(bar)),
    bar.needs_you ? plain("needs", "/messages?filter=needs-you", "bad", bar.needs_you, () => [n(bar.needs_you), ` need${bar.needs_you === 1 ? "s" : ""} you`]) : null,
    bar.held_leads ? plain("held", "/forms", "warn", bar.held_leads, () => [n(bar.held_leads), ` ${bar.held_leads === 1 ? "lead waits" : "leads wait"} for a release`]) : null,
    plain("sent", "/messages", "", [bar.sent, bar.arrived], () => ["sent ", n(bar.sent), " · arrived ", n(bar.arrived)], "Sent today, and on the phone"),
    plain("repeats", "/?filter=repeats", "", bar.repeats, () => ["repeats recognised ", n(bar.repeats)], "Deliveries that came again today. Nothing was sent for them"),
    plain("forged", "/?filter=refused", "", bar.forged, () => ["forgeries refused ", n(bar.forged)], "Posts of today without a valid proof"),
    bar.twice ? plain("twice", "/messages", "bad", bar.twice, () => [n(bar.twice), " sent more than once"]) : null,
    bar.failures ? plain("failures", "/settings", "bad", bar.failures, () => `${count(bar.failures, "batch", "batches")} given up`) : null,
    { id: "clock", data: [bar.offset_ms, bar.zone, bar.next_due], build: clockPop },
  ];
  keyed($("status"), items.filter(Boolean).map(item => ({ ...item, hash: JSON.stringify(item.data) })), item => item.build());
  renderBanner(bar.banner);
  tickClock();
}

function waitWords(bar) {
  if (!bar.waiting) return ["0 wait"];
  const down = bar.lines.find(line => line.waiting && !line.can_send), out = bar.lines.map(line => line.out_by).filter(Boolean);
  const reason = !down ? bar.reasons[0]?.[0] : down.stopped ? `the kill switch of ${down.name} is on` : `${HEALTH[down.health]?.toLowerCase() ?? down.health}`;
  return [h("b", {}, bar.waiting.toLocaleString("en")), ` ${bar.waiting === 1 ? "waits" : "wait"}: ${reason}`, out.length ? ` · out by ${soon(Math.max(...out))}` : down && !down.stopped ? ` · then ${down.per_minute} a minute` : ""];
}

function pop(key, summary, build, props = {}) {
  return h("details", { class: "pop", ...props }, h("summary", { class: "item", "data-key": key }, summary), h("div", { class: "panel" }, build()));
}

function linePop(line) {
  const words = line.stopped ? "kill switch on" : line.can_send ? "can send" : "cannot send";
  const id = `health-${line.name}`;
  return pop(`line-${line.name}`, [h("span", { class: `dot ${line.can_send ? "good" : "bad"}` }), h("b", {}, line.name), ` ${words}`], () => [
    h("p", { class: "soft" }, `Sends ${line.per_minute} a minute. ${line.waiting ? `${count(line.waiting, "message")} ${line.waiting === 1 ? "waits" : "wait"} for it.` : "Nothing waits for it."}`),
    h("div", { class: "row" },
      line.health === "good"
        ? button("Line goes down", () => act("line", { line: line.name, health: "qr" }))
        : button("Line comes back", () => act("line", { line: line.name, health: "good" }), { class: "btn main" }),
      button(line.stopped ? "Kill switch off" : "Kill switch", () => act("line", { line: line.name, stopped: !line.stopped }), { "aria-pressed": String(line.stopped) })),
    h("label", { class: "field", for: id }, "Health that the line reports", h("select", { id, "data-key": id, onchange: event => act("line", { line: line.name, health: event.target.value }) },
      Object.entries(HEALTH).map(([value, label]) => h("option", { value, selected: value === line.health }, label)))),
    h("fieldset", {}, h("legend", {}, "Fault of every send"), h("div", { class: "row" }, FAULTS.map(([kind, label, title]) => {
      const on = state.try?.fault === kind;
      return button(label, () => act("fault", on ? {} : { kind }), { title, "aria-pressed": String(on) });
    }))),
  ]);
}

function clockPop() {
  const bar = state.bar, ahead = bar.offset_ms;
  const move = (label, seconds) => button(label, () => act("clock", { forward_s: seconds }));
  return pop("clock", [h("span", { id: "clock" }), ` ${bar.zone.split("/").pop().replaceAll("_", " ")}`, ahead ? h("span", { class: "ahead" }, ` ${ahead > 0 ? "+" : "−"}${span(ahead)}`) : null], () => [
    h("p", { class: "soft" }, `All times are of ${bar.zone}.`, ahead ? ` The clock is ${span(ahead)} ${ahead > 0 ? "ahead" : "behind"}.` : " The clock shows the real time."),
    h("div", { class: "row" }, move("+1 min", 60), move("+1 h", 3600), move("+6 h", 21600), move("+1 day", 86400)),
    h("div", { class: "row" },
      bar.next_due ? button(`To the next due time, ${soon(bar.next_due)}`, () => act("clock", { to_next: true }), { "data-key": "to-next", title: "The next reminder, or the next try of a message that waits" }) : null,
      button("Run the schedule now", () => act("tick"))),
    ahead ? h("div", { class: "row" }, button("Back to now", () => act("clock", { reset: true }), { class: "btn main", title: "What was recorded ahead counts from now, so nothing waits for it" })) : null,
  ], { class: "pop clock" });
}

function tickClock() {
  const node = $("clock");
  if (node && state.bar) node.textContent = `${day(now()).split(" ")[0]} ${clock(now())}`;
}
setInterval(tickClock, 1000);

function renderBanner(banner) {
  const box = $("banner"), lost = box.dataset.lost;
  box.hidden = !banner && !lost;
  update(box, [banner, lost], () => {
    if (lost) return h("p", {}, lost);
    if (!banner) return null;
    const first = banner.first.map(({ line, problem, remedy }) => h("p", {}, h("b", {}, `${banner.file}:${line}`), ` ${problem}. `, h("span", { class: "remedy" }, `→ ${remedy}`)));
    const more = banner.errors - banner.first.length;
    return [
      first, more > 0 ? h("p", {}, link("/settings", {}, `${count(more, "more problem")} on the page Settings`)) : null,
      banner.errors ? h("p", {}, banner.runs_last_version ? "The functions run the last version that they loaded. Save the file again, and it is loaded at once." : "No function can start with this file.") : null,
      banner.missing_secrets.length ? h("p", {}, h("b", {}, "Missing in secrets.json: "), banner.missing_secrets.join(", "), ". Add them and start the run again; until then their senders get 503.") : null,
    ];
  });
}

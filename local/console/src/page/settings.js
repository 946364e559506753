// The page "Settings": the client's file, and what happens below the surface.

import { rowsOf, state } from "./api.js";
import { h, keyed, update } from "./dom.js";
import { clock, count, time } from "./format.js";
import { empty, section } from "./lists.js";

export const request = () => ({ name: "settings" });

let parts;
export function build() {
  parts = { top: h("div", { class: "detail" }), logs: h("ol", { class: "log", tabindex: "0", "aria-label": "Function logs" }), bottom: h("div", { class: "detail" }) };
  return [h("div", { class: "head" }, h("h1", {}, "Settings")), parts.top, section("Function logs", parts.logs), parts.bottom];
}

export function refresh() {
  const page = state.detail;
  if (!page) return;
  update(parts.top, [page.file, page.read_at, page.findings, page.missing_secrets, page.failures], () => [clientFile(page), page.failures.length ? failures(page.failures) : null]);
  const log = parts.logs, atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  keyed(log, rowsOf("list"), logRow);
  if (atEnd) log.scrollTop = log.scrollHeight;
  update(parts.bottom, [page.functions, page.dynamo, page.secrets_requests, page.provider], () => requests(page));
}

function clientFile(page) {
  const errors = page.findings.filter(finding => finding.error).length, warnings = page.findings.length - errors;
  const words = page.findings.length ? [errors ? count(errors, "error") : null, warnings ? count(warnings, "warning") : null].filter(Boolean).join(", ") : "no errors and no warnings";
  return section("client.toml",
    h("p", { class: `headline ${errors ? "needs-you" : ""}` }, `Checked ${clock(page.read_at)}: ${words}.`),
    h("p", { class: "soft" }, h("code", {}, page.file), " is watched. Save it, and it is checked and loaded at once."),
    page.missing_secrets.length ? h("p", {}, h("b", {}, "Missing secrets: "), page.missing_secrets.join(", ")) : null,
    page.findings.length ? h("ul", { class: "findings" }, page.findings.map(finding => h("li", { class: finding.error ? "bad" : "" },
      h("b", {}, `line ${finding.line}`), ` ${finding.problem}. `, h("span", { class: "remedy" }, `→ ${finding.remedy}`)))) : null);
}

const failures = all => section("Batches given up", h("p", { class: "soft" }, "A batch that fails after all its attempts. In the cloud it goes to the on-failure queue."),
  h("ul", { class: "plain" }, all.map(one => h("li", {}, time(one.at), ` ${one.function}: ${count(one.records, "record")} after ${count(one.attempts, "attempt")}. `, h("span", { dir: "auto" }, one.error)))));

function logRow(line) {
  let text = line.text, tone = line.source === "stderr" ? "warn" : "";
  try {
    const entry = JSON.parse(line.text);
    if (entry._aws) {
      const { _aws, ...values } = entry;
      [text, tone] = ["metric  " + Object.entries(values).map(([name, value]) => `${name}=${value}`).join("  "), "faint"];
    } else {
      const { timestamp, level, target, fields, span: _span, spans: _spans, message, ...rest } = entry;
      const { message: inner, ...values } = { ...(fields || {}), ...rest };
      tone = level === "ERROR" ? "error" : level === "WARN" ? "warn" : "";
      text = [inner ?? message, ...Object.entries(values).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)].filter(Boolean).join("  ");
    }
  } catch { /* A line that is not JSON is shown unchanged. */ }
  return h("li", {}, h("span", { class: "t" }, clock(line.at)), h("span", { class: "fn" }, line.function), h("span", { class: tone, dir: "auto" }, text));
}

const table = (caption, head, rows) => h("div", { class: "tablewrap", tabindex: "0", role: "region", "aria-label": caption }, h("table", {}, h("caption", {}, caption),
  h("thead", {}, h("tr", {}, head.map((cell, at) => h("th", { class: at ? "n" : "", scope: "col" }, cell)))),
  h("tbody", {}, rows.map(row => h("tr", {}, row.map((cell, at) => h("td", { class: at ? "n" : "" }, cell)))))));

function requests(page) {
  const counters = page.provider.counters;
  return h("div", { class: "tables" },
    table("Functions", ["Function", "Invoked", "Failed", "Cold starts"], page.functions.map(one => [one.name, one.started, one.failed, one.cold_starts])),
    table("Sends at the fake provider", ["What", "Count"], [
      ["Messages queued", counters.queued], ["Repeats of a key, same bytes", counters.repeats], ["Queued while the line could not send", counters.queued_while_not_good],
      ["Must stay 0: keys with other bytes", counters.key_conflicts], ["Must stay 0: sends without a key", counters.missing_key], ["Must stay 0: malformed sends", counters.invalid],
      ["Must stay 0: health checks that wake the line", counters.wakeups], ["Refused tokens", counters.unauthorized],
    ]),
    table("DynamoDB", ["Operation", "Requests", "Units"], page.dynamo.map(one => [`${one.operation} ${one.table}`, one.requests, Number(one.units.toFixed(1))])),
    table("Requests to the provider, and for secrets", ["Request", "Count"], [...Object.entries(counters.requests), ["Secrets Manager", page.secrets_requests]]),
    page.provider.webhooks ? table("Events posted by the line", ["Event", "Attempt", "Response"], page.provider.attempts.toReversed().map(one => [one.event, one.attempt, one.status ?? "none"])) : empty("No line reports events."));
}

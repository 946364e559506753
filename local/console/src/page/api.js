// Talks to the stack: looks once a second and gets what changed, and runs actions.

import { $, h, fill } from "./dom.js";

/** What the page has: parts by name, and lists with their rows. */
export const state = { bar: null, try: null, phones: null, lists: {}, detail: null };

let known = {}, seen = null, wanted = null, looking = false, again = false, listener = () => {};

/** Calls back after each look that changed something. */
export const onChange = callback => { listener = callback; };

/** Shows another page or another part of its list. */
export function show(request) {
  const page = JSON.stringify(request.page), before = wanted && JSON.stringify(wanted.page);
  wanted = request;
  seen = null;
  if (page !== before) {
    forget(["list", "forms", "deliveries", "detail"]);
  }
  return look();
}

function forget(names) {
  for (const name of names) {
    delete state.lists[name];
    for (const key of Object.keys(known)) if (key === name || key.startsWith(`${name}/`)) delete known[key];
  }
  if (names.includes("detail")) state.detail = null;
}

export async function look() {
  if (looking) { again = true; return; }
  looking = true;
  try {
    const asked = wanted;
    const answer = await post("look", { ...asked, known, seen });
    const wasLost = $("banner").dataset.lost;
    $("banner").dataset.lost = "";
    if (asked !== wanted) { again = true; return; }
    seen = answer.seen ?? seen;
    const changed = Object.keys(answer).filter(name => name !== "seen");
    for (const name of changed) take(name, answer[name]);
    if (changed.length || wasLost) listener(changed);
  } catch (error) {
    $("banner").dataset.lost = error instanceof TypeError
      ? "The local stack does not respond. Start it again with cargo run; this page continues by itself." : error.message;
    listener(["bar"]);
  } finally {
    looking = false;
    if (again) { again = false; look(); }
  }
}

function take(name, part) {
  if (part.hash) known[name] = part.hash;
  if (!part.rows) { state[name] = part; return; }
  const list = state.lists[name] ||= { rows: new Map(), order: [] };
  for (const row of part.rows) {
    list.rows.set(row.id, row);
    known[`${name}/${row.id}`] = row.hash;
  }
  if (!part.order) return;
  const { rows: _rows, ...head } = part;
  Object.assign(list, head);
  const kept = new Set(part.order);
  for (const id of list.rows.keys()) {
    if (!kept.has(id)) { list.rows.delete(id); delete known[`${name}/${id}`]; }
  }
}

/** The rows of a list, in their order. */
export const rowsOf = name => {
  const list = state.lists[name];
  return list ? list.order.map(id => list.rows.get(id)).filter(Boolean) : [];
};

async function post(path, body) {
  const answer = await fetch(`/_console/${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const result = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(result.error || `The stack responded with status ${answer.status}. Its terminal shows why.`);
  return result;
}

/* What these actions lead to is a row of the page. */
const WITH_ROWS = new Set(["try", "lead", "book", "clock"]);

/** Runs an action. What went wrong, and what no row shows, stands at the foot of the page. */
export async function act(path, body) {
  let text, bad = false;
  try {
    text = (await post(path, body || {})).message || "Done";
  } catch (error) {
    bad = true;
    text = error instanceof TypeError ? "The local stack does not respond." : error.message;
  }
  if (bad || !WITH_ROWS.has(path)) notify(text, bad);
  await look();
}

let fading;
export function notify(text, bad) {
  fill($("notice"), h("p", { class: bad ? "bad" : "" }, text, h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => fill($("notice")) }, "×")));
  clearTimeout(fading);
  fading = setTimeout(() => fill($("notice")), bad ? 12000 : 5000);
}

/** The raw body of a delivery. */
export async function deliveryBody(id) {
  try {
    const answer = await fetch(`/_console/delivery?id=${encodeURIComponent(id)}`);
    const detail = await answer.json();
    return answer.ok ? detail.body : detail.error;
  } catch { return "The local stack does not respond."; }
}

setInterval(() => { if (!document.hidden) look(); }, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });

// Addresses and pages: each address names one page, and Back, reload and copied links work.

import { onChange, show, state } from "./api.js";
import { renderBar } from "./bar.js";
import { $, h, fill, update, link } from "./dom.js";
import { count } from "./format.js";
import * as now from "./now.js";
import * as messages from "./messages.js";
import * as customers from "./customers.js";
import * as appointments from "./appointments.js";
import * as forms from "./forms.js";
import * as settings from "./settings.js";
import { renderPhone, phoneRequest } from "./phone.js";

const PAGES = [
  { path: "/", label: "Now", list: now },
  { path: "/messages", label: "Messages", list: messages, one: messages.one },
  { path: "/customers", label: "Customers", list: customers, one: customers.one },
  { path: "/appointments", label: "Appointments", list: appointments, one: appointments.one },
  { path: "/forms", label: "Forms", list: forms },
  { path: "/settings", label: "Settings", list: settings },
];
const DOCK = ["Now", "Messages", "Customers"];

/** What the address says. A search is kept with the entry of the history, and in no address. */
function readRoute() {
  const [first = "", ...rest] = location.pathname.split("/").slice(1);
  const page = PAGES.find(page => page.path === `/${first}`) || PAGES[0];
  const id = rest.length ? decodeURIComponent(rest.join("/")) : null;
  const query = new URLSearchParams(location.search);
  const view = first === "deliveries" && id ? now.one : id && page.one ? page.one : page.list;
  return { page, view, id, filter: query.get("filter"), from: Number(query.get("from")) || 0, search: history.state?.search || "" };
}

let route = readRoute();

/** Goes to an address of the console. */
export function go(address, { search = "", replace = false } = {}) {
  const same = address === location.pathname + location.search + location.hash && search === route.search;
  history[replace || same ? "replaceState" : "pushState"]({ search }, "", address);
  arrive(!replace);
}

function arrive(isNew) {
  const before = route;
  route = readRoute();
  document.body.dataset.panel = location.hash.slice(1);
  $("paneltitle").textContent = { try: "Try something", phone: "The customer’s phone" }[location.hash.slice(1)] ?? "";
  document.body.dataset.page = route.page.label.toLowerCase();
  if (before.view !== route.view || before.id !== route.id || !$("page").firstChild) {
    fill($("page"), route.view.build(route));
    if (isNew) scrollTo(0, 0);
    if (isNew && document.activeElement === document.body) $("page").focus({ preventScroll: true });
  }
  if ($("search") !== document.activeElement) $("search").value = route.search;
  renderTabs();
  renderTitle();
  refresh();
  request();
}

/** Asks for what the address names. */
export const request = () => show({ page: route.view.request(route), offset: route.from, ...phoneRequest() });

function renderTitle() {
  const name = route.id ? route.view.title?.(route) || route.page.label : route.page.label;
  document.title = `${name} · ${state.bar?.client ?? "tellonce"} · tellonce`;
}

function renderTabs() {
  const tab = page => link(page.path, { "data-key": page.path, "aria-current": page === route.page ? "page" : null }, page.label);
  update($("tabs"), route.page.path, () => PAGES.map(tab));
  const panel = location.hash.slice(1);
  update($("dock"), [route.page.path, panel, state.phones?.total], () => [
    ...PAGES.filter(page => DOCK.includes(page.label)).map(page => link(page.path, { "data-key": page.path, "aria-current": page === route.page && !panel ? "page" : null }, page.label)),
    ...[["try", "Try"], ["phone", "Phone"]].map(([id, label]) => link(`#${id}`, { "data-key": id, "aria-current": panel === id ? "page" : null }, label)),
    h("details", { class: "menu" }, h("summary", { "data-key": "menu" }, "Menu"),
      h("div", { class: "sheet" }, PAGES.filter(page => !DOCK.includes(page.label)).map(page => link(page.path, {}, page.label)))),
  ]);
}

function refresh() {
  if (state.bar) { renderBar(); $("client").textContent = state.bar.client; }
  route.view.refresh(route);
  now.renderTry();
  renderPhone();
}

onChange(() => { refresh(); renderTabs(); renderTitle(); });

document.addEventListener("click", event => {
  for (const open of document.querySelectorAll("details.pop[open], details.menu[open]")) if (!open.contains(event.target)) open.open = false;
  const anchor = event.target.closest("a[href]");
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || anchor.target) return;
  const href = anchor.getAttribute("href");
  if (href === "#page") return;
  if (!href.startsWith("/") && !href.startsWith("#")) return;
  event.preventDefault();
  document.querySelectorAll("details.menu[open]").forEach(open => { open.open = false; });
  go(href.startsWith("#") ? location.pathname + location.search + href : href);
});
addEventListener("popstate", () => arrive(true));

// A search looks through messages. On the pages of customers and appointments it looks there.
const searched = () => ["/customers", "/appointments"].includes(route.page.path) ? route.page.path : "/messages";
$("search").addEventListener("input", () => {
  const search = $("search").value.trim(), address = searched();
  const stays = location.pathname === address && Boolean(route.search) === Boolean(search);
  go(address, { search, replace: stays });
});
$("search").addEventListener("keydown", event => {
  if (event.key === "Enter") { event.preventDefault(); $("page").querySelector(".rows a")?.focus(); }
  if (event.key === "Escape" && $("search").value) { event.preventDefault(); $("search").value = ""; $("search").dispatchEvent(new Event("input")); }
});
document.addEventListener("keydown", event => {
  const typing = event.target.closest?.("input, textarea, select");
  if (event.key === "/" && !typing) { event.preventDefault(); $("search").focus(); }
  if (event.key === "Escape") document.querySelectorAll("details.pop[open], details.menu[open]").forEach(open => { open.open = false; open.querySelector("summary").focus(); });
  // Arrows go through the rows of a list.
  const row = event.target.closest?.(".rows > *");
  if (row && !typing && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const next = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    const target = next?.matches("a") ? next : next?.querySelector("a, summary, button");
    if (target) { event.preventDefault(); target.focus(); }
  }
});

/** The foot of a list: which part of how many is shown, and the way to the others. */
export function pager(list, size = 40) {
  const total = list?.total ?? 0, from = Math.min(route.from, total), to = Math.min(total, from + size);
  if (total <= size && !from) return total ? h("p", { class: "pager" }, count(total, "row")) : null;
  const query = new URLSearchParams(location.search);
  const at = start => { if (start) query.set("from", start); else query.delete("from"); return location.pathname + (query.size ? `?${query}` : ""); };
  const step = (start, label) => h("a", { class: "btn", href: at(start), onclick: event => { event.preventDefault(); go(at(start), { search: route.search }); } }, label);
  return h("p", { class: "pager" }, `${(from + 1).toLocaleString("en")}–${to.toLocaleString("en")} of ${total.toLocaleString("en")}`,
    from > 0 ? step(Math.max(0, from - size), "Newer") : null, to < total ? step(from + size, "Older") : null);
}

/** Links that choose a part of a list. */
export function filters(path, all, active) {
  return h("nav", { class: "filters", "aria-label": "Show" }, all.map(([name, label, n]) =>
    h("a", { href: name ? `${path}?filter=${name}` : path, "data-key": `filter-${name}`, "aria-current": (active || "") === (name || "") ? "true" : null, onclick: event => { event.preventDefault(); go(name ? `${path}?filter=${name}` : path, { search: route.search }); } },
      label, n === undefined ? null : h("span", { class: "n" }, n.toLocaleString("en")))));
}

history.replaceState({ search: history.state?.search || "" }, "");
arrive(false);

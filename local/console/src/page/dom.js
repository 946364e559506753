// Builds and updates nodes. Values from outside become text nodes, never markup.

export const $ = id => document.getElementById(id);

/** A node. `on…` properties are listeners, `class` is its class, and others are attributes. */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...flat(children));
  return node;
}

const flat = children => children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false);

/** Replaces what a node holds. Keeps the focus, what is typed, and what is open, by `data-key`. */
export function fill(box, ...children) {
  const restore = remember(box), top = box.scrollTop;
  box.replaceChildren(...flat(children));
  box.scrollTop = top;
  restore(box);
}

/* Remembers the focus and the open disclosures in a node. Returns what restores them in another. */
function remember(box) {
  const active = document.activeElement, focused = box.contains(active) ? active.dataset.key : null;
  const typed = focused && active.tagName === "INPUT" ? active.value : null;
  const open = [box, ...box.querySelectorAll("details")].filter(node => node.open).map(node => node.firstChild.dataset?.key).filter(Boolean);
  const find = (into, key) => into.querySelector(`[data-key="${CSS.escape(key)}"]`) ?? (into.dataset.key === key ? into : null);
  return into => {
    for (const key of open) { const summary = find(into, key); if (summary?.parentNode.tagName === "DETAILS") summary.parentNode.open = true; }
    const again = focused && find(into, focused);
    if (!again) return;
    if (typed !== null) again.value = typed;
    again.focus({ preventScroll: true });
  };
}

const shown = new WeakMap();

/** As `fill`, only if what it shows has changed. */
export function update(box, data, build) {
  const text = JSON.stringify(data);
  if (shown.get(box) === text) return false;
  shown.set(box, text);
  fill(box, build());
  return true;
}

/** A list whose rows keep their nodes: only changed rows are built again. */
export function keyed(box, rows, build) {
  const before = new Map([...box.children].map(node => [node.dataset.row, node]));
  let at = 0;
  for (const row of rows) {
    const old = before.get(row.id), hash = row.hash || JSON.stringify(row);
    let node = old;
    if (!old || old.dataset.hash !== hash) {
      node = build(row, !old);
      node.dataset.row = row.id;
      node.dataset.hash = hash;
      if (old) {
        const hadFocus = old.contains(document.activeElement), restore = remember(old);
        old.replaceWith(node);
        restore(node);
        if (hadFocus && !node.contains(document.activeElement)) (node.matches("a, button") ? node : node.querySelector("a, button, summary"))?.focus({ preventScroll: true });
      }
    }
    before.delete(row.id);
    if (box.children[at] !== node) box.insertBefore(node, box.children[at] || null);
    at += 1;
  }
  for (const node of before.values()) node.remove();
}

/** A button that is disabled while its action runs. */
export function button(label, run, props = {}) {
  const node = h("button", {
    type: "button", class: "btn", "data-key": typeof label === "string" ? label : undefined, ...props,
    onclick: async () => {
      node.disabled = true;
      try { await run(); } finally {
        node.disabled = false;
        if (node.isConnected && document.activeElement === document.body) node.focus({ preventScroll: true });
      }
    },
  }, label);
  return node;
}

/** A disclosure whose content is built when it opens first. */
export function more(label, build, props = {}) {
  const node = h("details", { class: "more", ...props }, h("summary", { "data-key": `more-${label}` }, label));
  node.addEventListener("toggle", () => {
    if (!node.open || node.dataset.built) return;
    node.dataset.built = "1";
    node.append(h("div", { class: "inside" }, build()));
  });
  return node;
}

/** A link to a page of the console. */
export const link = (href, props, ...children) => h("a", { href, ...props }, ...children);

// Times, words and counts as people read them. All times are in the client's zone.

import { state } from "./api.js";
import { h } from "./dom.js";

export const now = () => Date.now() + (state.bar?.offset_ms ?? 0);
const zone = () => state.bar?.zone ?? "UTC";
const formats = new Map();
function parts(ms, options) {
  const key = zone() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone() }));
  return formats.get(key).format(ms);
}
export const clock = ms => parts(ms, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const minute = ms => parts(ms, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const day = ms => parts(ms, { weekday: "short", day: "numeric", month: "short" }).replace(",", "");
const sameDay = (a, b) => day(a) === day(b);
/** A time of day; with its day, if that is another one. */
export const when = ms => sameDay(ms, now()) ? clock(ms) : `${day(ms)} ${minute(ms)}`;
export const soon = ms => sameDay(ms, now()) ? minute(ms) : `${day(ms)} ${minute(ms)}`;
export const time = (ms, text) => h("time", { datetime: new Date(ms).toISOString(), title: `${day(ms)} ${clock(ms)}, ${zone()}` }, text ?? when(ms));

export function span(ms) {
  const s = Math.abs(ms) / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  const minutes = Math.round(s / 60), hours = Math.floor(minutes / 60), rest = minutes % 60;
  if (hours < 1) return `${minutes} min`;
  if (hours < 48) return rest ? `${hours} h ${rest} min` : `${hours} h`;
  return `${Math.round(s / 86400)} days`;
}
export const count = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many ?? `${one}s`}`;

const TIMES = /^\d{13}$/;
/** A value of a raw row: times are times. */
export const rawValue = (name, value) => typeof value === "number" && TIMES.test(String(value)) ? `${value} (${day(value)} ${clock(value)})`
  : typeof value === "object" && value !== null ? JSON.stringify(value, null, 1) : String(value);

export const STANDINGS = { waiting: "Waiting", sent: "Sent", arrived: "Arrived", skipped: "Skipped", "needs-you": "Needs you" };
const TONES = { ...STANDINGS, repeat: "Again", refused: "Refused", run: "" };
const MARKS = { sent: "✓ ", arrived: "✓✓ ", "needs-you": "! " };
/** The word for how something stands. It says it in colour, with a sign, and as text. */
export const chip = (tone, text) => h("span", { class: `chip ${tone}` }, text ? null : h("span", { "aria-hidden": "true" }, MARKS[tone] || ""), text ?? TONES[tone] ?? tone);

export const HEALTH = {
  good: "Can send", qr: "Phone must be linked again", launch: "Connecting", contradictory: "Health contradicts itself",
  unknown_strings: "Health has unknown states", missing_line: "Health without a line", unavailable: "Health responds with 503",
};
export const KINDS = {
  typeform: "Typeform", "google-ads": "Google Ads", meta: "Meta lead ads", webflow: "Webflow", tally: "Tally", jotform: "Jotform",
  elementor: "Elementor", "gravity-forms": "Gravity Forms", wpforms: "WPForms", "contact-form-7": "Contact Form 7", hubspot: "HubSpot",
  web: "website, Zapier, Make, n8n",
  calcom: "Cal.com", calendly: "Calendly", acuity: "Acuity", square: "Square", custom: "own system", ics: "feed",
};

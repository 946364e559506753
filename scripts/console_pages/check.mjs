// Uses the console as a person does, in Chromium. Started by scripts/try_console.py with
//
//     node check.mjs PACKAGES CHROMIUM CONSOLE_URL CLIENT_TOML STATE_FOLDER [SCREENSHOTS]
//
// Each step prints a line. The first step that fails ends the run.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [packages, executablePath, base, clientToml, stateFolder, screenshots] = process.argv.slice(2);
const require = createRequire(path.join(packages, "package.json"));
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const PAGES = ["/", "/messages", "/customers", "/appointments", "/forms", "/settings"];
const SIZES = [[390, 844], [1280, 860]];
/* What a page may take in a second, and how long its script may hold the browser. */
const MAX_BYTES_A_SECOND = 20_000, MAX_TASK_MS = 50;

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const problems = [];

async function open({ size = [1280, 860], scheme = "light", path: address = "/" } = {}) {
  const context = await browser.newContext({ viewport: { width: size[0], height: size[1] }, colorScheme: scheme, timezoneId: "America/New_York", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.on("pageerror", error => problems.push(`${address}: ${error.message}`));
  page.on("console", message => { if (message.type() === "error") problems.push(`${address}: ${message.text()}`); });
  page.on("request", request => { if (!request.url().startsWith(base) && !request.url().startsWith("data:")) problems.push(`a request leaves the machine: ${request.url()}`); });
  await page.goto(base + address);
  await page.locator("#status .item").first().waitFor();
  return page;
}

async function act(action, body) {
  const answer = await fetch(`${base}/_console/${action}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, `${action}: ${await answer.text()}`);
}

async function step(name, run) {
  const started = Date.now();
  await run();
  assert.deepEqual(problems, [], name);
  console.log(`ok: ${name} (${Date.now() - started} ms)`);
}

/* A machine under load needs longer than a person waits: only the promises of ten seconds say so. */
const within = (locator, seconds = 30) => locator.first().waitFor({ timeout: seconds * 1000 });

await step("a duplicate says that it was recognised, and a forgery that it was refused", async () => {
  const page = await open();
  await page.locator("#try .btn").first().click();
  await within(page.locator(".rows .line .title", { hasText: "received" }));
  await page.locator("[data-key=repeat-last]").click();
  await within(page.locator(".rows .line.repeat", { hasText: "recognised, nothing sent" }), 10);
  await page.locator("[data-key=bad-signature]").click();
  await within(page.locator(".rows .line.refused", { hasText: "refused 401: the signature does not match" }));
  await within(page.locator("#status", { hasText: /repeats recognised 1.*forgeries refused 1/ }));
  await page.context().close();
});

await step("the phone follows the newest message, until somebody chooses a phone", async () => {
  const page = await open();
  const write = contact => act("conversation", { action: "write", contact, line: "line_demo", text: "Hello?" });
  await write("+972545550199");
  await within(page.locator("#phone .contact", { hasText: "+972545550199" }));
  await write("+972525550147");
  await within(page.locator("#phone .contact", { hasText: "+972525550147" }));
  await page.locator("#phone .people button").nth(1).click();
  await within(page.locator("#phone .mode[aria-pressed=true]"));
  const pinned = await page.locator("#phone .contact").textContent();
  await write("+972525550148");
  await within(page.locator("#phone .people button", { hasText: "+972525550148" }));
  assert.equal(await page.locator("#phone .contact").textContent(), pinned);
  await page.context().close();
});

await step("from a number to the reason why a customer heard nothing, in three steps", async () => {
  await act("line", { line: "main", health: "qr" });
  await act("clock", { forward_s: 60 });
  await act("try", { case: "erp-ready" });
  const page = await open();
  const row = page.locator(".rows .line", { hasText: "Amit Peretz" }).first();
  await within(row);
  await page.keyboard.press("/");
  await page.keyboard.type("058-555-0142");
  await within(page.locator("main h1", { hasText: "Messages" }));
  await within(page.locator(".rows a.line.message", { hasText: "the phone must be linked again" }).first());
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await within(page.locator(".headline", { hasText: "Not sent yet: the phone must be linked again." }));
  await within(page.locator("main", { hasText: /client\.toml:\d+/ }));
  await page.context().close();
});

await step("every thing has an address: reload, Back and a copied link show the same", async () => {
  await act("lead", { form: "website", action: "without-consent", phone: "052-555-0166" });
  const page = await open();
  const search = page.locator("#search");
  await search.fill("052-555-0166");
  await page.getByRole("link", { name: "the lead did not consent" }).click();
  await within(page.locator(".detail .headline", { hasText: "No message: the lead did not consent" }));
  assert.match(new URL(page.url()).pathname, /^\/deliveries\/.+/);
  await page.goto(`${base}/messages`);
  await page.locator(".rows a.line").first().click();
  await within(page.locator(".detail .headline"));
  const [address, title] = [page.url(), await page.locator(".detail h1").textContent()];
  assert.match(new URL(address).pathname, /^\/messages\/.+/);
  await page.reload();
  await within(page.locator(".detail h1", { hasText: title }));
  await page.goBack();
  await within(page.locator("main h1", { hasText: "Messages" }));
  const other = await open({ path: new URL(address).pathname });
  await within(other.locator(".detail h1", { hasText: title }));
  await other.context().close();
  await search.fill("Amit");
  await within(page.locator(".rows .line", { hasText: "Amit Peretz" }).first());
  assert.ok(!page.url().includes("Amit"), "no address holds a name");
  await page.reload();
  await within(page.locator(".rows .line", { hasText: "Amit Peretz" }).first());
  assert.equal(await search.inputValue(), "Amit");
  await page.context().close();
});

await step("back at the present, nothing waits for what was recorded ahead", async () => {
  const page = await open();
  await page.locator("[data-key=clock]").click();
  await page.getByRole("button", { name: "+6 h" }).click();
  await within(page.locator("#status .ahead", { hasText: "+6 h" }));
  await act("line", { line: "main", health: "good" });
  await act("clock", { forward_s: 120 });
  if (!await page.getByRole("button", { name: "Back to now" }).isVisible()) await page.locator("[data-key=clock]").click();
  await page.getByRole("button", { name: "Back to now" }).click();
  await within(page.locator(".line.system", { hasText: "the clock is back at the present" }).first());
  assert.equal(await page.locator("#status .ahead").count(), 0);
  await page.context().close();
});

await step("a client.toml that does not load is named with file, line and remedy, and a good one is loaded", async () => {
  const page = await open();
  const good = fs.readFileSync(clientToml, "utf8");
  const broken = good.replace("messages_per_minute = 20", "messages_per_minute = \"20\"");
  assert.notEqual(good, broken);
  const line = broken.split("\n").findIndex(text => text.startsWith("messages_per_minute = \"20\"")) + 1;
  fs.writeFileSync(clientToml, broken);
  await within(page.locator("#banner", { hasText: `client.toml:${line}` }), 10);
  await within(page.locator("#banner", { hasText: "→" }));
  await shoot(page, "broken");
  fs.writeFileSync(clientToml, good);
  await page.locator("#banner").waitFor({ state: "hidden", timeout: 10_000 });
  await within(page.locator(".line.system", { hasText: "client.toml changed: loaded" }).first());
  await page.context().close();
});

await step("the keyboard reaches search, rows, pages and the clock", async () => {
  const page = await open();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "search");
  await page.locator(".rows a.line").first().focus();
  await page.keyboard.press("ArrowDown");
  const at = await page.evaluate(() => [...document.querySelector(".rows").children].indexOf(document.activeElement.closest(".rows > *")));
  assert.ok(at > 0, `row ${at}`);
  await page.locator("[data-key=clock]").focus();
  await page.keyboard.press("Enter");
  await within(page.getByRole("button", { name: "+1 min" }));
  // The bar is drawn anew each time it changes: the panel stays open, and so does the focus.
  await act("try", { case: "woo-ready" });
  await page.waitForTimeout(2500);
  assert.ok(await page.getByRole("button", { name: "+1 min" }).isVisible(), "the panel stays open");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.dataset.key), "clock");
  await page.context().close();
});

await step("no page is wider than the screen, and axe finds nothing", async () => {
  await act("book", { calendar: "clinic", action: "book", start: "2030-01-07T10:30" });
  await act("conversation", { action: "write", contact: "+972525550147", line: "line_demo", text: "W".repeat(400) });
  for (const size of SIZES) {
    for (const scheme of ["light", "dark"]) {
      const page = await open({ size, scheme });
      const addresses = [...PAGES];
      for (const list of ["/messages", "/customers", "/appointments"]) {
        await page.goto(base + list);
        await within(page.locator(".rows a.line").first());
        addresses.push(await page.locator(".rows a.line").first().getAttribute("href"));
      }
      if (size[0] < 500) addresses.push("/#try", "/#phone");
      for (const address of addresses) {
        await page.goto(base + address);
        await within(page.locator("#status .item").first());
        await page.waitForTimeout(700);
        const name = address.split("/")[1].split("#").join("") || "now";
        await shoot(page, `${size[0]}-${scheme}-${name}${address.split("/").length > 2 ? "-one" : ""}`);
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= size[0], `${address} is ${width} px wide at ${size[0]} px`);
        await page.evaluate(axe);
        const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
        const violations = found.violations.map(one => `${one.id}: ${one.nodes.map(node => node.html.slice(0, 120)).join(" | ")}`);
        assert.deepEqual(violations, [], `${address} at ${size[0]} px, ${scheme}`);
      }
      await page.context().close();
    }
  }
});

await step("with two thousand messages, a second costs few bytes and no long task", async () => {
  await fillLedger(2000);
  const page = await open({ path: "/messages" });
  await within(page.locator(".filters .n", { hasText: /^[2-9],\d{3}$/ }).first(), 20);
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver(list => { for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration); }).observe({ type: "longtask" });
  });
  const bytes = [];
  page.on("response", async response => { if (response.url().endsWith("/look")) bytes.push((await response.body().catch(() => "")).length); });
  for (let second = 0; second < 8; second += 1) {
    await act("try", { case: "erp-ready" });
    await page.waitForTimeout(1000);
  }
  const [most, longest] = [Math.max(...bytes), await page.evaluate(() => window.longest)];
  console.log(`    the largest answer has ${most} bytes, the longest task takes ${Math.round(longest)} ms`);
  assert.ok(most <= MAX_BYTES_A_SECOND && longest <= MAX_TASK_MS, `${most} bytes, ${longest} ms`);
  await page.context().close();
});

/* Rows of messages that wait, written into the table of the run. */
async function fillLedger(rows) {
  const { endpoints } = JSON.parse(fs.readFileSync(path.join(stateFolder, "stack.json"), "utf8"));
  // As the command line finds the tables: in the environment of a function.
  const asked = await fetch(`${endpoints.lambda}/2015-03-31/functions/tellonce-demo-reminder-scheduler/configuration`, {
    headers: { authorization: "AWS4-HMAC-SHA256 Credential=operator/20300101/eu-central-1/lambda/aws4_request, SignedHeaders=host, Signature=0" },
  });
  const ledger = (await asked.json()).Environment.Variables.LEDGER_TABLE;
  const soon = String(Date.now() + 86_400_000), created = String(Date.now());
  const item = n => ({
    subject: { S: `order:filled-${n}` }, stage: { S: "ready" }, state: { S: "held" }, version: { N: "1" }, rank: { N: "1" }, supersedes: { N: "0" }, priority: { N: "50" },
    line: { S: "main" }, to: { S: `+97254${String(1_000_000 + n)}` }, name: { S: "Noa Levi" }, request: { S: JSON.stringify({ body: "x".repeat(300) }) }, route: { S: "messages/text" },
    occurred_at: { N: created }, created_at: { N: created }, updated_at: { N: created }, useful_until: { N: soon }, due_at: { N: soon }, delivery: { S: "filled" },
  });
  for (let from = 0; from < rows; from += 25) {
    const puts = Array.from({ length: Math.min(25, rows - from) }, (_, at) => ({ PutRequest: { Item: item(from + at) } }));
    const answer = await fetch(endpoints.dynamodb, {
      method: "POST", body: JSON.stringify({ RequestItems: { [ledger]: puts } }),
      headers: { "content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.BatchWriteItem", authorization: "AWS4-HMAC-SHA256 Credential=operator/20300101/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0" },
    });
    assert.equal(answer.status, 200, await answer.text());
  }
}

async function shoot(page, name) {
  if (screenshots) await page.screenshot({ path: path.join(screenshots, `${name}.png`) });
}

await browser.close();

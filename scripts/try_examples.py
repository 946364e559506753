#!/usr/bin/env python3
"""Runs the examples of examples/ with the real programs, against a local run of clients/examples.

n8n and Vendure come from the npm registry, Chromium from this machine. If a program cannot be had, its
example is skipped, and the last lines say so. The programs are installed once, below $TELLONCE_TOOLS.
Needs the built workspace (`cargo build --workspace --bins`).

    scripts/try_examples.py [n8n] [vendure] [web-page]     default: all three
"""

import argparse
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from processes import ROOT, announce, free_port, http as send, running, wait_for

EXAMPLES = ROOT / "examples"
SECRETS = {
    name.removeprefix("tellonce/examples/"): value
    for name, value in json.loads((ROOT / "clients/examples/secrets.json").read_text()).items()
}
TOOLS = pathlib.Path(os.environ.get("TELLONCE_TOOLS") or pathlib.Path.home() / ".cache/tellonce-tools")
# Versions are those that existed on this day, also of the packages that these need.
PACKAGES_BEFORE = "2026-11-28"
N8N_VERSION, VENDURE_VERSION = "1.123.81", "3.7.3"
# The longest time for one command that installs packages.
INSTALL_SECONDS = 300
# A message may wait for the next minute's tick, and it is sent within seconds of that.
ARRIVAL_SECONDS = 90
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
NOA, MAYA, ADI = "+972545550199", "+972525550101", "+972585550142"


class Skipped(Exception):
    """A program cannot be had here."""


def main():
    tries = {"n8n": try_n8n, "vendure": try_vendure, "web-page": try_web_page}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help=", ".join(tries))
    wanted = parser.parse_args().examples or list(tries)
    results = []
    for name in wanted:
        started = time.monotonic()
        try:
            checked = tries[name]()
            results.append(f"ok: {name}: {checked} ({time.monotonic() - started:.0f} s)")
        except Skipped as reason:
            results.append(f"SKIPPED: {name}: {reason}")
    print("", *results, sep="\n", flush=True)


def install(name, version, dependencies, rebuild=(), overrides=None):
    """Installs npm packages into a folder of their own, without running their scripts."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            raise Skipped(f"{program} is missing")
    folder = TOOLS / f"{name}-{version}"
    if (folder / "installed").exists():
        return folder
    announce(f"installing {name} {version} into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest = {"private": True, "dependencies": dependencies, "overrides": overrides or {}}
    (folder / "package.json").write_text(json.dumps(manifest))
    # The headers of Node.js beside its binary spare the download when an addon is compiled.
    node_folder = pathlib.Path(shutil.which("node")).resolve().parent.parent
    commands = [["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", f"--before={PACKAGES_BEFORE}"]]
    commands += [["npm", "rebuild", package, f"--nodedir={node_folder}"] for package in rebuild]
    for command in commands:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except subprocess.TimeoutExpired:
            raise Skipped(f"`{' '.join(command[:3])}` takes longer than {INSTALL_SECONDS} s") from None
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Skipped(f"`{' '.join(command[:3])}` failed: {reason[:200]}")
    (folder / "installed").touch()
    return folder


class Local:
    """A local run."""

    def __init__(self, port, provider_port):
        self.url, self.provider = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{provider_port}"

    def texts(self, phone):
        """The texts on a customer's phone, in order of arrival."""
        status, body = send("GET", f"{self.provider}/_fake/state")
        assert status == 200, status
        messages = [message for message in json.loads(body)["messages"] if message["direction"] == "to_customer"]
        return [message["body"] for message in messages if message["contact"] == phone]

    def expect_texts(self, phone, texts):
        wait_for(f"{len(texts)} messages on {phone}", lambda: len(self.texts(phone)) >= len(texts), ARRIVAL_SECONDS)
        assert self.texts(phone) == texts, self.texts(phone)

    def write_as_customer(self, phone, text):
        body = json.dumps({"from": phone, "text": text, "line": "line_examples"}).encode()
        status, answer = send("POST", f"{self.provider}/_fake/phone", body, {"content-type": "application/json"})
        assert status == 200, (status, answer)


def quick_examples(folder):
    """A copy of clients/examples whose line sends a message each second. At the default rate, a
    second message within three seconds waits for the next minute's tick."""
    client = shutil.copytree(ROOT / "clients/examples", folder / "client")
    settings, line = (client / "client.toml").read_text(), 'line_id = "line_examples"\n'
    assert settings.count(line) == 1, settings
    (client / "client.toml").write_text(settings.replace(line, f"{line}messages_per_minute = 60\n"))
    return client


@contextlib.contextmanager
def local_run(folder, *real, client=None):
    port, provider_port = free_port(), free_port()
    client = client or quick_examples(folder)
    local = Local(port, provider_port)
    binary = ROOT / "target/debug/local"
    if not binary.exists():
        raise SystemExit("target/debug/local is missing: run `cargo build --workspace --bins`")
    options = ["--client", client, "--state", folder / "state", "--fresh", "--no-build"]
    ports = ["--port", str(port), "--provider-port", str(provider_port)]
    systems = [option for system in real for option in ("--real", system)]
    with running("the local run", [binary, *options, *ports, *systems], dict(os.environ), folder / "local.log"):
        wait_for("the local run", lambda: send("GET", local.url)[0] == 200, 60)
        yield local


@contextlib.contextmanager
def http_server(handle):
    """A server on the loopback. `handle` takes method, path and body, and returns type and body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            kind, answer = handle(self.command, self.path, body)
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def workflow(name, replacements, last_step):
    """A workflow of examples/n8n, with the addresses of this run. `last_step` takes the place of the
    user's own steps."""
    text = (EXAMPLES / "n8n" / name).read_text()
    for old, new in replacements.items():
        assert old in text, (name, old)
        text = text.replace(old, new)
    content = json.loads(text)
    for node in content["nodes"]:
        if node["name"] == "Your steps":
            node.update(last_step)
    return content


def sign_call(secret, call_id, body, at=None):
    at = str(int(at or time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.new(key, f"{call_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": call_id,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }


def try_n8n():
    folder = install(
        "n8n",
        N8N_VERSION,
        {"n8n": N8N_VERSION},
        rebuild=["sqlite3"],
        # The package's own source of this one is not an npm registry.
        overrides={"xlsx": "0.18.5"},
    )
    n8n = folder / "node_modules/.bin/n8n"
    received = []

    def record(_method, path, body):
        received.append((path, json.loads(body)))
        return "application/json", b"{}"

    with contextlib.ExitStack() as stack:
        temporary = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        n8n_url = f"http://127.0.0.1:{port}"
        recorder = stack.enter_context(http_server(record))
        local = stack.enter_context(local_run(temporary, f"crms.n8n={n8n_url}"))
        env = {
            **os.environ,
            "N8N_USER_FOLDER": str(temporary),
            "N8N_PORT": str(port),
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_RUNNERS_BROKER_PORT": str(free_port()),
            "NODE_FUNCTION_ALLOW_BUILTIN": "crypto",
            # The other engine needs an addon that does not compile with every Node.js.
            "N8N_EXPRESSION_ENGINE": "legacy",
            "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
            "N8N_TEMPLATES_ENABLED": "false",
            "N8N_ENFORCE_SETTINGS_FILE_PERMISSIONS": "false",
        }

        def run(*command):
            done = subprocess.run([n8n, *command], env=env, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

        def post_step(path):
            body = "={{ JSON.stringify($json) }}"
            parameters = {"method": "POST", "url": recorder + path, "sendBody": True, "contentType": "json"}
            parameters |= {"specifyBody": "json", "jsonBody": body, "options": {}}
            return {"type": "n8n-nodes-base.httpRequest", "typeVersion": 4.2, "parameters": parameters}

        workflows = [
            workflow("send.json", {"http://127.0.0.1:8787": local.url}, {}),
            workflow("receive.json", {}, post_step("/code")),
            workflow("receive-without-code.json", {'"path": "tellonce"': '"path": "without-code"'}, post_step("/plain")),
        ]
        announce("importing credentials and workflows")
        run("import:credentials", f"--input={EXAMPLES / 'n8n/credentials.json'}")
        for content in workflows:
            file = temporary / "workflow.json"
            file.write_text(json.dumps(content))
            run("import:workflow", f"--input={file}")
        announce("n8n posts an order and a lead")
        run("execute", f"--id={workflows[0]['id']}")
        local.expect_texts(NOA, ["Your order N-1 is ready for you."])
        local.expect_texts(MAYA, ["Hi Maya, thanks for writing to Haifa Ceramics!"])

        announce("n8n receives signed calls")
        for content in workflows[1:]:
            run("update:workflow", f"--id={content['id']}", "--active=true")
        stack.enter_context(running("n8n", [n8n, "start"], env, temporary / "n8n.log"))
        secret = SECRETS["crms/n8n"]
        for path, recorded in [("tellonce", "/code"), ("without-code", "/plain")]:
            url, body = f"{n8n_url}/webhook/{path}", b'{"type": "test", "text": "\xc3\xa4\xd7\x90"}'
            wait_for("n8n", lambda: send("POST", url, body, {"content-type": "application/json"})[0] == 401, 90)
            good = sign_call(secret, f"{path}-1", body)
            for headers, changed, status in [
                (good, body, 204),
                (good, body, 204),
                (good, body + b" ", 401),
                (good | {"webhook-id": "other"}, body, 401),
                (sign_call(secret, f"{path}-2", body, time.time() - 400), body, 401),
                (sign_call(SECRETS["webhooks/vendure"], f"{path}-3", body), body, 401),
            ]:
                answered, _ = send("POST", url, changed, headers)
                assert answered == status, (path, answered, status)
            wait_for("the last step", lambda: [p for p, _ in received].count(recorded) >= 1, 30)
        # The first call of each workflow, and no repeat.
        assert sorted(path for path, _ in received) == ["/code", "/plain"], received
        local.write_as_customer(ADI, "Is my bowl ready?")
        entry = wait_for("the call of tellonce", lambda: [event for _, event in received[2:]], 60)[0]
        assert "Is my bowl ready?" in json.dumps(entry), entry
    return "order and lead posted, signed calls accepted once each, 8 forged or stale ones refused"


class Shop:
    """Vendure's two GraphQL APIs."""

    def __init__(self, url):
        self.url, self.tokens = url, {}

    def ask(self, api, query, **variables):
        headers = {"content-type": "application/json"}
        if api in self.tokens:
            headers["authorization"] = f"Bearer {self.tokens[api]}"
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/{api}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            self.tokens[api] = response.headers.get("vendure-auth-token") or self.tokens.get(api, "")
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        results = [value for value in answer["data"].values() if isinstance(value, dict)]
        failed = [value for value in results if value.get("message")]
        assert not failed, failed
        return next(iter(answer["data"].values()))

    def admin(self, query, **variables):
        return self.ask("admin-api", query, **variables)

    def shop(self, query, **variables):
        return self.ask("shop-api", query, **variables)

    def set_up(self):
        """One product that can be delivered in Israel and paid."""
        self.admin('mutation { login(username: "superadmin", password: "superadmin") { __typename } }')
        country = self.admin(
            'mutation { createCountry(input: {code: "IL", enabled: true, translations: [{languageCode: en, name: "Israel"}]}) { id } }'
        )["id"]
        zone = self.admin("mutation($m: [ID!]) { createZone(input: {name: \"IL\", memberIds: $m}) { id } }", m=[country])["id"]
        self.admin(
            """mutation($z: ID!) { updateChannel(input: {id: "1", defaultTaxZoneId: $z, defaultShippingZoneId: $z,
            defaultCurrencyCode: ILS, availableCurrencyCodes: [ILS], availableLanguageCodes: [en]}) { __typename } }""",
            z=zone,
        )
        tax = self.admin('mutation { createTaxCategory(input: {name: "standard", isDefault: true}) { id } }')["id"]
        self.admin(
            """mutation($z: ID!, $t: ID!) { createTaxRate(input: {name: "standard", enabled: true, value: 18,
            categoryId: $t, zoneId: $z}) { id } }""",
            z=zone,
            t=tax,
        )
        self.admin(
            """mutation { createShippingMethod(input: {code: "courier", fulfillmentHandler: "manual-fulfillment",
            checker: {code: "default-shipping-eligibility-checker", arguments: [{name: "orderMinimum", value: "0"}]},
            calculator: {code: "default-shipping-calculator", arguments: [{name: "rate", value: "500"},
            {name: "includesTax", value: "auto"}, {name: "taxRate", value: "0"}]},
            translations: [{languageCode: en, name: "Courier", description: ""}]}) { id } }"""
        )
        self.admin(
            """mutation { createPaymentMethod(input: {code: "pay", enabled: true, handler: {code: "dummy-payment-handler",
            arguments: [{name: "automaticSettle", value: "true"}]},
            translations: [{languageCode: en, name: "Pay", description: ""}]}) { id } }"""
        )
        product = self.admin(
            """mutation { createProduct(input: {enabled: true,
            translations: [{languageCode: en, name: "Bowl", slug: "bowl", description: ""}]}) { id } }"""
        )["id"]
        self.variant = self.admin(
            """mutation($p: ID!, $t: ID!) { createProductVariants(input: [{productId: $p, sku: "B1", price: 10000,
            stockOnHand: 100, taxCategoryId: $t, translations: [{languageCode: en, name: "Bowl"}]}]) { id } }""",
            p=product,
            t=tax,
        )[0]["id"]

    def place_order(self, phone):
        """Buys a bowl as a new customer; returns the order's id and code."""
        self.tokens.pop("shop-api", None)
        self.shop(
            """mutation($v: ID!) { addItemToOrder(productVariantId: $v, quantity: 1)
            { __typename ... on ErrorResult { message } } }""",
            v=self.variant,
        )
        customer = {"firstName": "Noa", "lastName": "Levi", "emailAddress": f"{time.time_ns()}@example.com", "phoneNumber": phone}
        self.shop(
            "mutation($c: CreateCustomerInput!) { setCustomerForOrder(input: $c) { __typename ... on ErrorResult { message } } }",
            c=customer,
        )
        self.shop(
            """mutation { setOrderShippingAddress(input: {fullName: "Noa Levi", streetLine1: "Herzl 12", city: "Haifa",
            postalCode: "1", countryCode: "IL"}) { __typename } }"""
        )
        method = self.shop("{ eligibleShippingMethods { id } }")[0]["id"]
        self.shop("mutation($m: [ID!]!) { setOrderShippingMethod(shippingMethodId: $m) { __typename } }", m=[method])
        self.shop('mutation { transitionOrderToState(state: "ArrangingPayment") { __typename ... on ErrorResult { message } } }')
        order = self.shop(
            """mutation { addPaymentToOrder(input: {method: "pay", metadata: {}})
            { __typename ... on Order { id code } ... on ErrorResult { message } } }"""
        )
        return order["id"], order["code"]

    def ship(self, order_id):
        lines = self.admin("query($i: ID!) { order(id: $i) { lines { id quantity } } }", i=order_id)["lines"]
        handler = {
            "code": "manual-fulfillment",
            "arguments": [{"name": "method", "value": "Israel Post"}, {"name": "trackingCode", "value": "RR123456785IL"}],
        }
        parcel = {"lines": [{"orderLineId": line["id"], "quantity": line["quantity"]} for line in lines], "handler": handler}
        fulfillment = self.admin(
            """mutation($i: FulfillOrderInput!) { addFulfillmentToOrder(input: $i)
            { __typename ... on Fulfillment { id } ... on ErrorResult { message } } }""",
            i=parcel,
        )["id"]
        for state in ("Shipped", "Delivered"):
            self.admin(
                """mutation($i: ID!, $s: String!) { transitionFulfillmentToState(id: $i, state: $s)
                { __typename ... on ErrorResult { message } } }""",
                i=fulfillment,
                s=state,
            )
            yield state

    def cancel(self, order_id):
        self.admin(
            "mutation($i: CancelOrderInput!) { cancelOrder(input: $i) { __typename ... on ErrorResult { message } } }",
            i={"orderId": order_id, "reason": "test"},
        )


def try_vendure():
    packages = {"@vendure/core": VENDURE_VERSION, "sql.js": "1.13.0", "standardwebhooks": "1.0.0"}
    folder = install("vendure", VENDURE_VERSION, packages)
    for file in (EXAMPLES / "vendure/tellonce-plugin.js", ROOT / "scripts/vendure_shop/server.js"):
        shutil.copy(file, folder)
    with contextlib.ExitStack() as stack:
        temporary = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        local = stack.enter_context(local_run(temporary))
        port = free_port()
        env = {
            **os.environ,
            "SHOP_PORT": str(port),
            "TELLONCE_URL": f"{local.url}/stores/vendure",
            "TELLONCE_SECRET": SECRETS["webhooks/vendure"],
            "VENDURE_DISABLE_TELEMETRY": "true",
        }
        announce("starting the shop")
        stack.enter_context(running("Vendure", ["node", folder / "server.js"], env, temporary / "vendure.log"))
        shop = Shop(f"http://127.0.0.1:{port}")
        wait_for("the shop", lambda: send("GET", f"{shop.url}/health")[0] == 200, 90)
        shop.set_up()
        announce("orders are placed, shipped and cancelled")
        order_id, code = shop.place_order("054-555-0199")
        texts = [f"We've received your payment for order {code}. Thank you!"]
        local.expect_texts(NOA, texts)
        for state in shop.ship(order_id):
            shipped = f"Order {code} is on its way. Parcel RR123456785IL."
            texts.append(shipped if state == "Shipped" else f"Order {code} has arrived.")
            local.expect_texts(NOA, texts)
        order_id, code = shop.place_order("+972 52-555-0101")
        texts = [f"We've received your payment for order {code}. Thank you!"]
        local.expect_texts(MAYA, texts)
        shop.cancel(order_id)
        local.expect_texts(MAYA, [*texts, f"Order {code} has been cancelled."])
    return "2 orders: paid, shipped, delivered and cancelled, each sent once"


def try_web_page():
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not chromium:
        raise Skipped("Chromium is missing (Debian: `apt-get install chromium`)")
    # What the page's visitor types and sends.
    visitor = """<script>
      form.elements.name.value = 'Noa Levi';
      form.elements.phone.value = '054-555-0199';
      form.elements.whatsapp_consent.checked = true;
      form.requestSubmit();
    </script>"""
    with contextlib.ExitStack() as stack:
        temporary = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        local = stack.enter_context(local_run(temporary))
        page = (EXAMPLES / "web-page/form.html").read_text()
        assert "http://127.0.0.1:8787" in page
        page = page.replace("http://127.0.0.1:8787", local.url).replace("</html>", visitor + "</html>").encode()
        site = stack.enter_context(http_server(lambda *_: ("text/html; charset=utf-8", page)))
        announce("a visitor submits the form")
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update"]
        command += ["--disable-background-networking", "--disable-sync", f"--user-data-dir={temporary / 'profile'}"]
        command += ["--timeout=15000", "--virtual-time-budget=15000", "--dump-dom", site]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        thanks = '<p role="status">Thank you! We will write to you on WhatsApp.</p>'
        assert thanks in done.stdout, done.stdout + done.stderr[-2000:]
        local.expect_texts(NOA, ["Hi Noa, we have your message. Haifa Ceramics"])
    return "a page of another origin posted a lead and read the answer"


if __name__ == "__main__":
    sys.exit(main())

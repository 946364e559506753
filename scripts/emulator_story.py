"""The test behind scripts/deploy-to-emulator; run that script.

Starts MiniStack and the fake EZWhatsApp on the loopback, deploys the built template with `sam deploy`,
delivers signed orders, a booking, a lead and line events through the API, and checks the messages that
were sent. It removes everything that it started and wrote, also after a failure.

It replaces two things that the emulator cannot do:
- The emulator ignores the body of an HTTP API. So the routes are created from that body after the
  deployment.
- The emulator mounts no layers for `provided` runtimes. So the functions read the deployed layer's file
  from another path than /opt.
It does not test retries, partial batch failures and dead letters, which the emulator does not emulate
faithfully. The Rust tests do.
"""

import argparse
import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import datetime, timedelta, timezone

import boto3

from processes import ROOT, announce, free_port, http, running, wait_for

STACK = "tellonce-demo"
CLIENT = "demo"
STORE = "erp"
CALENDAR = "crm"
FORM = "website"
LINE = "main"
REGION = "eu-central-1"
# MiniStack's built-in key pair. It is valid only there.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


def print_message(message):
    print("  sent:", *message["body"].splitlines(), sep="\n      | ", flush=True)


class Cloud:
    """The emulator, used through the ordinary AWS clients."""

    def __init__(self, port):
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def environment(self, folder):
        """A clean environment, because MiniStack passes its own to every function."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "SAM_CLI_TELEMETRY": "0",
        }


def make_secrets(cloud):
    """Stores the demo client's public test secrets, one JSON object for each role. Returns them by name."""
    values = json.loads((ROOT / "clients" / CLIENT / "secrets.json").read_text())
    current = {name: value if isinstance(value, str) else value["current"] for name, value in values.items()}
    roles = {}
    for name, value in current.items():
        _, _, kind, rest = name.split("/", 3)
        role, member = ("apis", f"{kind}/{rest}") if kind in ("stores", "calendars", "forms") else (kind, rest)
        roles.setdefault(role, {})[member] = value
    manager = cloud.client("secretsmanager")
    for role, members in roles.items():
        manager.create_secret(Name=f"tellonce/{CLIENT}/{role}", SecretString=json.dumps(members))
    return current


def deploy(cloud, folder, build, architecture, provider_url, fakes):
    """Runs `sam deploy` with the built template, as an agency does. Returns the stack's outputs."""
    cloud.client("s3").create_bucket(
        Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    parameters = {
        "Client": CLIENT,
        "Architecture": architecture,
        "ProtectTables": "false",
        "LogLevel": "debug",
        "ProviderBaseUrl": provider_url,
        "CalendarBaseUrl": fakes,
        "LeadBaseUrl": fakes,
        "CrmBaseUrl": fakes,
        "TargetBaseUrl": fakes,
        "Acknowledgements": "true",
        "AlarmEmail": "agency@example.com",
    }
    settings = folder / "samconfig.toml"  # empty: the project's settings are for the cloud
    settings.write_text("version = 0.1\n")
    command = [
        str(pathlib.Path(sys.executable).with_name("sam")), "deploy", "--template-file", str(build / "template.yaml"), "--stack-name", STACK,
        "--s3-bucket", "artifacts", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar",
        "--config-file", str(settings),
        "--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items()),
    ]
    done = subprocess.run(command, env=cloud.environment(folder), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"FAILED: sam deploy\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}")
    stack = cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def resources(cloud):
    """Physical ids by logical id."""
    rows = cloud.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    return {row["LogicalResourceId"]: row["PhysicalResourceId"] for row in rows}


def import_routes(cloud, api_id, function):
    """Creates the routes of the deployed API's body, which the emulator ignores."""
    template = cloud.client("cloudformation").get_template(StackName=STACK, TemplateStage="Processed")["TemplateBody"]
    template = template if isinstance(template, dict) else json.loads(template)
    gateway = cloud.client("apigatewayv2")
    arn = cloud.client("lambda").get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    made = []
    for path, methods in template["Resources"]["Api"]["Properties"]["Body"]["paths"].items():
        for method, operation in methods.items():
            wiring = operation["x-amazon-apigateway-integration"]
            integration = gateway.create_integration(
                ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationMethod=wiring["httpMethod"],
                IntegrationUri=arn, PayloadFormatVersion=wiring["payloadFormatVersion"],
            )
            key = f"{method.upper()} {path}"
            gateway.create_route(ApiId=api_id, RouteKey=key, Target=f"integrations/{integration['IntegrationId']}")
            made.append(key)
    return made


def mount_layers(cloud, folder, functions):
    """Unpacks each function's deployed layer into a folder, as Lambda does under /opt."""
    client = cloud.client("lambda")
    for function in functions:
        configuration = client.get_function_configuration(FunctionName=function)
        (layer,) = configuration["Layers"]
        content = client.get_layer_version_by_arn(Arn=layer["Arn"])["Content"]
        status, archive = http("GET", content["Location"])
        assert status == 200, f"the request for the layer's archive got {status}"
        opt = folder / "opt" / function
        zipfile.ZipFile(io.BytesIO(archive)).extractall(opt)
        variables = configuration["Environment"]["Variables"]
        wanted = pathlib.PurePosixPath(variables["CLIENT_CONFIG"]).relative_to("/opt")
        assert [str(f.relative_to(opt)) for f in opt.rglob("*") if f.is_file()] == [str(wanted)], "the layer holds one file"
        variables["CLIENT_CONFIG"] = str(opt / wanted)
        client.update_function_configuration(FunctionName=function, Environment={"Variables": variables})


def order_ready(order):
    """The ERP's body of `order.ready_for_pickup` for a new order."""
    now = datetime.now(timezone.utc)
    return json.dumps({
        "type": "order.ready_for_pickup",
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "data": {
            "orderId": order,
            "orderNumber": order.removeprefix("SO-"),
            "customer": {"name": "Amit Peretz", "phone": "+972585550142", "locale": "he"},
            "total": "412.00",
            "currency": "ILS",
            "pickup": {"location": "Main warehouse", "until": f"{now + timedelta(days=7):%Y-%m-%d}"},
            "orderUrl": f"https://store.example.com/orders/{order}",
        },
    }, separators=(",", ":")).encode()


def booking(number, start, status):
    """The body that the demo's CRM calendar posts for an appointment."""
    return json.dumps({
        "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "data": {
            "bookingId": number,
            "status": status,
            "startsAt": start.strftime("%Y-%m-%dT%H:%M:00Z"),
            "timeZone": "Asia/Jerusalem",
            "customer": {"name": "Tamar Katz", "phone": "+972585550142", "locale": "he"},
            "service": "Consultation",
        },
    }, separators=(",", ":")).encode()


class Sender:
    """A store or a calendar that signs as described at https://www.standardwebhooks.com."""

    def __init__(self, cloud, api_id, path, secret):
        self.url = f"{cloud.endpoint}{path}"
        self.host = f"{api_id}.execute-api.localhost"
        self.key = base64.b64decode(secret.removeprefix("whsec_"))

    def deliver(self, delivery, body, key=None):
        """Posts one signed delivery and returns the API's status."""
        stamp = str(int(time.time()))
        signed = b".".join([delivery.encode(), stamp.encode(), body])
        signature = base64.b64encode(hmac.new(key or self.key, signed, hashlib.sha256).digest()).decode()
        headers = {
            "Host": self.host,
            "Content-Type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{signature}",
        }
        return http("POST", self.url, body, headers)[0]


def check(condition, text):
    if not condition:
        raise SystemExit(f"FAILED: {text}")
    print(f"  ok  {text}", flush=True)


def explain(cloud, name):
    """What `tellonce explain` says, asked of the emulated account as an agency asks it."""
    command = [ROOT / "target" / "debug" / "tellonce", "explain", name, "--client", ROOT / "clients" / CLIENT, "--json"]
    environment = {**CREDENTIALS, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": cloud.endpoint, "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"`tellonce explain {name}` answers {done.stderr}")
    return json.loads(done.stdout)


def check_order(cloud, store, sent_messages, outputs, ids):
    def times_sent(order):
        return sum(message["key"] == f"order:{order}:ready" for message in sent_messages())

    announce("a store reports that an order is ready for pick-up")
    first, delivery = f"SO-{secrets.randbelow(90000) + 10000}", f"msg_{secrets.token_hex(12)}"
    body = order_ready(first)
    check(store.deliver(delivery, body, key=b"not the secret") == 401, "a delivery signed with another secret is refused: 401")
    check(store.deliver(delivery, body) == 200, "the signed delivery is accepted: 200")
    (message,) = wait_for("the message at the fake EZWhatsApp", sent_messages, 60)
    print_message(message)
    check(times_sent(first) == 1, f"the message has the idempotency key order:{first}:ready")
    row = {"subject": {"S": f"order:{first}"}, "stage": {"S": "ready"}}
    ledger = cloud.client("dynamodb")
    wait_for(
        "the ledger to settle the message",
        lambda: ledger.get_item(TableName=outputs["LedgerTable"], Key=row)["Item"]["state"]["S"] == "accepted", 30,
    )
    check(True, "the ledger row is accepted")

    announce("the store repeats the delivery, then reports the same event under a new delivery id")
    check(store.deliver(delivery, body) == 200, "the repeated delivery is accepted: 200")
    check(store.deliver(f"msg_{secrets.token_hex(12)}", body) == 200, "the same event is accepted: 200")
    time.sleep(5)
    check(len(sent_messages()) == 1, "five seconds later, one message has been sent")

    announce("the scheduler runs")
    tick(cloud, ids, "a sweep")
    check(len(sent_messages()) == 1, "one message has been sent")

    announce("the receiver loses its permission to write into the inbox")
    iam = cloud.client("iam")
    role = ids["WebhookReceiverRole"]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    less = json.loads(json.dumps(document))
    less["Statement"] = [s for s in less["Statement"] if "dynamodb:PutItem" not in s["Action"]]
    assert len(less["Statement"]) == len(document["Statement"]) - 1, "one statement lets the receiver write"
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(less))
    second, delivery = f"SO-{secrets.randbelow(90000) + 10000}", f"msg_{secrets.token_hex(12)}"
    body = order_ready(second)
    check(store.deliver(delivery, body) == 503, "a delivery that cannot be stored is answered 503, so the store retries")
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
    check(store.deliver(delivery, body) == 200, "after the permission is restored, the retry is accepted: 200")
    wait_for("the second order's message", lambda: times_sent(second), 60)
    # The stream is ordered, so every delivery before the second order has been processed.
    check(len(sent_messages()) == 2 and times_sent(first) == times_sent(second) == 1, "two orders, one message each")
    report = explain(cloud, f"order:{first}")
    codes = [step["code"] for step in report["messages"][0]["steps"]]
    check(codes == ["came-in", "created", "accepted"], "`tellonce explain` names each step of the first order")


def tick(cloud, ids, what, event=b"{}"):
    done = cloud.client("lambda").invoke(FunctionName=ids["ReminderScheduler"], Payload=event)
    result = done["Payload"].read().decode()
    check("FunctionError" not in done, f"the scheduler's role is sufficient for {what}: {result}")
    return json.loads(result)


def check_reminder(cloud, crm, sent_messages, outputs, ids):
    number = str(secrets.randbelow(900000) + 100000)
    subject = f"appointment:{CALENDAR}..{number}"

    def reminders():
        return [message for message in sent_messages() if message["key"].startswith(f"{subject}:")]

    announce("a customer books an appointment that begins in an hour and a half")
    body = booking(number, datetime.now(timezone.utc) + timedelta(minutes=90), "confirmed")
    check(crm.deliver(f"msg_{secrets.token_hex(12)}", body, key=b"not the secret") == 401, "a forged booking is refused: 401")
    check(crm.deliver(f"msg_{secrets.token_hex(12)}", body) == 200, "the signed booking is accepted: 200")
    check(crm.deliver(f"msg_{secrets.token_hex(12)}", body) == 200, "the same booking under a new delivery id is accepted: 200")
    ledger, row = cloud.client("dynamodb"), {"subject": {"S": subject}, "stage": {"S": "state"}}

    def header():
        return ledger.get_item(TableName=outputs["LedgerTable"], Key=row).get("Item")

    state = wait_for("the appointment in the ledger", header, 60)["state"]["S"]
    check(state == "booked", "the appointment is booked in the ledger")
    tick(cloud, ids, "a reminder")
    (message,) = wait_for("the reminder at the fake EZWhatsApp", reminders, 30)
    print_message(message)
    check(message["key"] == f"{subject}:2h", f"the reminder has the idempotency key {subject}:2h")
    tick(cloud, ids, "another sweep")
    check(len(reminders()) == 1, "after the next sweep, one reminder has been sent")
    cancelled = booking(number, datetime.now(timezone.utc), "cancelled")
    check(crm.deliver(f"msg_{secrets.token_hex(12)}", cancelled) == 200, "the cancellation is accepted: 200")
    wait_for("the cancellation in the ledger", lambda: header()["state"]["S"] == "cancelled", 60)
    check(True, "the appointment is cancelled in the ledger")
    polled = tick(cloud, ids, "reading the feeds", b'{"poll":"feeds"}')
    check(polled["read"] == 1, "the demo's feed was read")


def check_lead(cloud, api_id, token, sent_messages, outputs, ids):
    url, phone = f"{cloud.endpoint}/leads/{FORM}", "+972525550188"
    headers = {"Host": f"{api_id}.execute-api.localhost", "Content-Type": "application/json", "X-Webhook-Token": token}

    def submit(lead, token=token):
        body = json.dumps({"lead_id": lead, "full_name": "Roni Azulay", "phone": phone, "whatsapp_consent": "on"}).encode()
        return http("POST", url, body, {**headers, "X-Webhook-Token": token})[0]

    def row(lead):
        # The id is from a field, so the key ends in a pseudonym of the number.
        found = cloud.client("dynamodb").scan(
            TableName=outputs["LedgerTable"], FilterExpression="begins_with(subject, :start) AND stage = :stage",
            ExpressionAttributeValues={":start": {"S": f"lead:{FORM}..{lead}-"}, ":stage": {"S": "first-touch"}},
        )["Items"]
        return found[0] if found else None

    def greetings():
        return [message for message in sent_messages() if message["key"].startswith("lead:")]

    announce("a lead submits the website's form twice, then once more under another id")
    first, second = (f"L-{secrets.token_hex(6)}" for _ in range(2))
    check(submit(first, token="not the token") == 401, "a lead with another token is refused: 401")
    check(submit(first) == submit(first) == submit(second) == 200, "leads with the site's token are accepted: 200")
    (message,) = wait_for("the first touch at the fake EZWhatsApp", greetings, 60)
    print_message(message)
    wait_for("the second lead in the ledger", lambda: row(second), 30)
    states = sorted(row(lead)["state"]["S"] for lead in (first, second))
    check(states == ["accepted", "suppressed"] and len(greetings()) == 1, "one ledger row is accepted, one is suppressed, and one message was sent")
    done = cloud.client("lambda").invoke(FunctionName=ids["LeadFirstTouch"], Payload=json.dumps({"release": FORM}).encode())
    result = done["Payload"].read().decode()
    check("FunctionError" not in done and json.loads(result)["released"] == 0, f"the function's role is sufficient to release held leads: {result}")


def check_conversation(cloud, api_id, secret, sent_messages, outputs, ids):
    message, phone = f"wamid_{secrets.token_hex(8)}", "+972525550177"

    def post(delivery, secret=secret, line="line_demo"):
        headers = {
            "Host": f"{api_id}.execute-api.localhost", "Content-Type": "application/json", "X-EZW-Delivery-Id": delivery,
            "X-EZW-Webhook-Event": "messages.post", "X-EZW-Line-Id": line, "X-EZW-Webhook-Id": "hook_1",
        }
        written = {
            "id": message, "conversationId": "conv_emulator", "contactPhoneNumber": phone, "from_me": False,
            "timestamp": int(time.time()), "type": "text", "text": {"body": "this is urgent"},
        }
        body = json.dumps({"event": "messages.post", "messages": [written]}).encode()
        return http("POST", f"{cloud.endpoint}/lines/{LINE}/{secret}", body, headers)[0]

    def tasks():
        subject = f"message:{LINE}:{hashlib.sha256(message.encode()).hexdigest()[:32]}"
        found = cloud.client("dynamodb").query(
            TableName=outputs["LedgerTable"], KeyConditionExpression="subject = :subject",
            ExpressionAttributeValues={":subject": {"S": subject}},
        )["Items"]
        return {item["stage"]["S"]: json.loads(item["record"]["S"])["state"] for item in found}

    def acknowledgements():
        return [message for message in sent_messages() if message["key"].startswith("webhook-reply:")]

    announce("a customer writes on the line, and EZWhatsApp reports it twice")
    check(post("dlv-1", secret="a-guess") == 404, "an address with another secret does not exist: 404")
    check(post("dlv-1", line="line_other") == 403, "another line's event is refused: 403")
    check(post("dlv-1") == post("dlv-1") == post("dlv-2") == 200, "the line's events are accepted: 200")
    wanted = {f"crm-{crm}": "skipped" if crm == "pipedrive" else "done" for crm in ("hubspot", "own", "pipedrive", "sheet", "zoho")}
    wait_for("the message in every CRM", lambda: tasks() == wanted, 90)
    check(True, "the message is in every CRM once, and skipped by the CRM that does not know the number")
    # If the sweep has just used the line, the acknowledgement waits for the next one.
    (acknowledgement,) = wait_for("the acknowledgement at the fake EZWhatsApp", acknowledgements, 90)
    check(acknowledgement["key"] == "webhook-reply:dlv-1", "the customer got one acknowledgement, under webhook-reply:dlv-1")
    for payload, expected in (({"source": "aws.events"}, None), ({"opt_out": phone}, {"changed": True}), ({"opt_in": phone}, {"changed": True})):
        done = cloud.client("lambda").invoke(FunctionName=ids["ConversationSync"], Payload=json.dumps(payload).encode())
        result = done["Payload"].read().decode()
        check("FunctionError" not in done and json.loads(result) == expected, f"the function's role is sufficient for {', '.join(payload)}: {result}")
    check(tasks() == wanted and len(acknowledgements()) == 1, "the scheduled run finds nothing left to do")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the folder that sam build made")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--emulator", required=True, help="the ministack command")
    arguments = parser.parse_args()
    started = time.monotonic()
    # A terminated run also cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("FAILED: terminated"))

    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellonce-emulator-")))
        cloud = Cloud(free_port())
        provider_port, local_port = free_port(), free_port()
        provider_url = f"http://127.0.0.1:{provider_port}"

        announce("start the emulator, with IAM enforced, and the fake EZWhatsApp")
        emulator = {
            **cloud.environment(folder),
            "AUTH": "true",
            "GATEWAY_PORT": str(cloud.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "STATE_DIR": str(folder / "state"),
            "S3_DATA_DIR": str(folder / "s3"),
        }
        stack.enter_context(running("MiniStack", [arguments.emulator], emulator, folder / "ministack.log"))
        # The local stack includes the fake EZWhatsApp and the fakes of all other APIs. Its
        # functions are not used here.
        fake = [
            str(ROOT / "target" / "debug" / "local"), "--no-build", "--state", str(folder / "local"),
            "--port", str(local_port), "--provider-port", str(provider_port),
        ]
        stack.enter_context(running("the local stack", fake, dict(os.environ), folder / "local.log"))
        wait_for("MiniStack", lambda: http("GET", f"{cloud.endpoint}/_ministack/health")[0] == 200, 60)
        wait_for("the fake EZWhatsApp", lambda: http("GET", f"{provider_url}/_fake/state")[0] == 200, 30)

        def sent_messages():
            state = json.loads(http("GET", f"{provider_url}/_fake/state")[1])
            return [message for message in state["messages"] if message["direction"] == "to_customer"]

        announce("create the demo client's secrets and deploy the template")
        values = make_secrets(cloud)
        outputs = deploy(cloud, folder, arguments.build, arguments.architecture, provider_url, f"http://127.0.0.1:{local_port}")
        ids = resources(cloud)
        functions = [ids[name] for name in ("WebhookReceiver", "OrderNotifier", "ReminderScheduler", "LeadFirstTouch", "ConversationSync")]
        mount_layers(cloud, folder, functions)
        routes = import_routes(cloud, outputs["ApiId"], ids["WebhookReceiver"])
        wanted = [
            "GET /leads/{form}", "POST /bookings/{calendar}", "POST /leads/{form}", "POST /leads/{form}/{secret}",
            "POST /lines/{line}/{secret}", "POST /stores/{store}",
        ]
        check(sorted(routes) == wanted, f"deployed {len(ids)} resources and the routes {', '.join(wanted)}")

        def sender(path, name):
            secret = values[f"{outputs['SecretsPrefix']}/webhooks/{name}"]
            return Sender(cloud, outputs["ApiId"], f"/{path}/{name}", secret)

        check_order(cloud, sender("stores", STORE), sent_messages, outputs, ids)
        check_reminder(cloud, sender("bookings", CALENDAR), sent_messages, outputs, ids)
        token = values[f"{outputs['SecretsPrefix']}/webhooks/{FORM}"]
        check_lead(cloud, outputs["ApiId"], token, sent_messages, outputs, ids)
        line_secret = values[f"{outputs['SecretsPrefix']}/webhooks/{LINE}/line"]
        check_conversation(cloud, outputs["ApiId"], line_secret, sent_messages, outputs, ids)
    announce(f"order update, reminder, first touch and acknowledgement sent once each, in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

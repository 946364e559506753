"""The story that scripts/deploy-to-emulator tells; run that.

Starts MiniStack and the fake EZWhatsApp on the loopback, deploys the built template with `sam deploy`, delivers signed orders,
a booking and a lead through the API, and looks at what arrived. Everything it starts and writes is gone afterwards, also when it fails.

What the emulator can't do is done here in its place, and nothing else:
- it ignores the body of an HTTP API, so the routes are made from that very body after the deployment;
- it mounts no layers for `provided` runtimes, so the functions get the deployed layer's file at another path than /opt.
Retries, partial batch failures and dead letters aren't emulated faithfully either; the Rust tests hold those.
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
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from datetime import datetime, timedelta, timezone

import boto3

ROOT = pathlib.Path(__file__).resolve().parent.parent
STACK = "tellonce-demo"
CLIENT = "demo"
STORE = "erp"
CALENDAR = "crm"
FORM = "website"
LINE = "main"
REGION = "eu-central-1"
# MiniStack's built-in key pair. It means nothing anywhere else.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


def say(text):
    print(f"--- {text}", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, look, seconds):
    """Asks every 0.2 s until `look` answers something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            found = look()
            if found:
                return found
        time.sleep(0.2)
    raise SystemExit(f"FAILED: waited {seconds} s for {what}")


def http(method, url, body=None, headers=None):
    """(status, body) of a request, errors included."""
    request = urllib.request.Request(url, method=method, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextlib.contextmanager
def running(name, command, env, log):
    """A process of its own group, ended with everything it started."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT)
    try:
        yield process
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
        if sys.exc_info()[0] is not None:
            print(f"--- the end of {name}'s log:", *log.read_text(errors="replace").splitlines()[-60:], sep="\n", flush=True)


class Cloud:
    """The emulator, seen through the ordinary AWS clients."""

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
        """A clean environment: MiniStack hands its own to every function."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "SAM_CLI_TELEMETRY": "0",
        }


def make_secrets(cloud):
    """The demo client's public test secrets, under the names the functions look for. Answers them by name."""
    values = json.loads((ROOT / "clients" / CLIENT / "secrets.json").read_text())
    manager = cloud.client("secretsmanager")
    current = {name: value if isinstance(value, str) else value["current"] for name, value in values.items()}
    for name, value in current.items():
        manager.create_secret(Name=name, SecretString=value)
    return current


def deploy(cloud, folder, build, architecture, ezw, peers):
    """`sam deploy` of the built template, as an agency does it. Answers the stack's outputs."""
    cloud.client("s3").create_bucket(
        Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    parameters = {
        "Client": CLIENT,
        "Architecture": architecture,
        "ProtectTables": "false",
        "LogLevel": "debug",
        "EzwBaseUrl": ezw,
        "CalendarBaseUrl": peers,
        "LeadBaseUrl": peers,
        "CrmBaseUrl": peers,
        "TargetBaseUrl": peers,
        "Acknowledgements": "true",
        "AlarmEmail": "agency@example.com",
    }
    settings = folder / "samconfig.toml"  # none: not the project's, which are for the cloud
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
    """Makes the routes of the deployed API's body, which the emulator leaves aside."""
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
    """Unpacks each function's deployed layer where the function can read it, as Lambda does under /opt."""
    client = cloud.client("lambda")
    for function in functions:
        configuration = client.get_function_configuration(FunctionName=function)
        (layer,) = configuration["Layers"]
        content = client.get_layer_version_by_arn(Arn=layer["Arn"])["Content"]
        status, archive = http("GET", content["Location"])
        assert status == 200, f"the layer's archive answers {status}"
        opt = folder / "opt" / function
        zipfile.ZipFile(io.BytesIO(archive)).extractall(opt)
        variables = configuration["Environment"]["Variables"]
        wanted = pathlib.PurePosixPath(variables["CLIENT_CONFIG"]).relative_to("/opt")
        assert [str(f.relative_to(opt)) for f in opt.rglob("*") if f.is_file()] == [str(wanted)], "the layer holds one file"
        variables["CLIENT_CONFIG"] = str(opt / wanted)
        client.update_function_configuration(FunctionName=function, Environment={"Variables": variables})


def order_ready(order):
    """The body of `order.ready_for_pickup` for a new order."""
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
    """The body of the demo's CRM for an appointment."""
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
    """A store or a calendar that signs as https://www.standardwebhooks.com says."""

    def __init__(self, cloud, api_id, path, secret):
        self.url = f"{cloud.endpoint}{path}"
        self.host = f"{api_id}.execute-api.localhost"
        self.key = base64.b64decode(secret.removeprefix("whsec_"))

    def deliver(self, delivery, body, key=None):
        """The status the API answers to one signed delivery."""
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


def tell(cloud, store, told, outputs, ids):
    def times_told(order):
        return sum(message["key"] == f"order:{order}:ready" for message in told())

    say("an order is ready for pick-up")
    first, delivery = f"SO-{secrets.randbelow(90000) + 10000}", f"msg_{secrets.token_hex(12)}"
    body = order_ready(first)
    check(store.deliver(delivery, body, key=b"not the secret") == 401, "a delivery signed with another secret is refused: 401")
    check(store.deliver(delivery, body) == 200, "the signed delivery is accepted: 200")
    (message,) = wait_for("the message at the fake EZWhatsApp", told, 60)
    print("  told:", *message["body"].splitlines(), sep="\n      | ", flush=True)
    check(times_told(first) == 1, f"the message has the idempotency key order:{first}:ready")
    row = {"subject": {"S": f"order:{first}"}, "stage": {"S": "ready"}}
    ledger = cloud.client("dynamodb")
    wait_for(
        "the ledger to settle the message",
        lambda: ledger.get_item(TableName=outputs["LedgerTable"], Key=row)["Item"]["state"]["S"] == "accepted", 30,
    )
    check(True, "the ledger says: accepted")

    say("the store delivers it again, then tells the same fact under a new delivery id")
    check(store.deliver(delivery, body) == 200, "the repetition is accepted: 200")
    check(store.deliver(f"msg_{secrets.token_hex(12)}", body) == 200, "the same fact is accepted: 200")
    time.sleep(5)
    check(len(told()) == 1, "five seconds later, the customer has been told once")

    say("the clock ticks")
    tick(cloud, ids, "a round")
    check(len(told()) == 1, "the customer has been told once")

    say("the receiver may no longer write into the inbox")
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
    check(store.deliver(delivery, body) == 503, "a delivery that can't be kept is not accepted: 503, so the store tries again")
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
    check(store.deliver(delivery, body) == 200, "with the permission back, its retry is accepted: 200")
    wait_for("the second order's message", lambda: times_told(second), 60)
    # The stream is in order: what came before the second order has been dealt with by now.
    check(len(told()) == 2 and times_told(first) == times_told(second) == 1, "two orders, one message each")


def tick(cloud, ids, what, event=b"{}"):
    done = cloud.client("lambda").invoke(FunctionName=ids["ReminderScheduler"], Payload=event)
    answer = done["Payload"].read().decode()
    check("FunctionError" not in done, f"the scheduler's role suffices for {what}: {answer}")
    return json.loads(answer)


def remind(cloud, crm, told, outputs, ids):
    number = str(secrets.randbelow(900000) + 100000)
    subject = f"appointment:{CALENDAR}..{number}"

    def reminded():
        return [message for message in told() if message["key"].startswith(f"{subject}:")]

    say("somebody books an appointment that begins in an hour and a half")
    body = booking(number, datetime.now(timezone.utc) + timedelta(minutes=90), "confirmed")
    check(crm.deliver(f"msg_{secrets.token_hex(12)}", body, key=b"not the secret") == 401, "a forged booking is refused: 401")
    check(crm.deliver(f"msg_{secrets.token_hex(12)}", body) == 200, "the signed booking is accepted: 200")
    check(crm.deliver(f"msg_{secrets.token_hex(12)}", body) == 200, "and once more under a new delivery id: 200")
    ledger, row = cloud.client("dynamodb"), {"subject": {"S": subject}, "stage": {"S": "state"}}

    def header():
        return ledger.get_item(TableName=outputs["LedgerTable"], Key=row).get("Item")

    standing = wait_for("the appointment in the ledger", header, 60)["state"]["S"]
    check(standing == "booked", "the ledger knows the appointment: booked")
    tick(cloud, ids, "a reminder")
    (message,) = wait_for("the reminder at the fake EZWhatsApp", reminded, 30)
    print("  told:", *message["body"].splitlines(), sep="\n      | ", flush=True)
    check(message["key"] == f"{subject}:2h", f"it has the idempotency key {subject}:2h")
    tick(cloud, ids, "another round")
    check(len(reminded()) == 1, "the next minute, the customer has been reminded once")
    check(crm.deliver(f"msg_{secrets.token_hex(12)}", booking(number, datetime.now(timezone.utc), "cancelled")) == 200, "it is cancelled: 200")
    wait_for("the ledger to know that", lambda: header()["state"]["S"] == "cancelled", 60)
    check(True, "the ledger says: cancelled")
    looked = tick(cloud, ids, "a look at the feeds", b'{"poll":"feeds"}')
    check(looked["read"] == 1, "the demo's feed was read")


def greet(cloud, api_id, token, told, outputs, ids):
    url, phone = f"{cloud.endpoint}/leads/{FORM}", "+972525550188"
    headers = {"Host": f"{api_id}.execute-api.localhost", "Content-Type": "application/json", "X-Webhook-Token": token}

    def leave(lead, token=token):
        body = json.dumps({"lead_id": lead, "full_name": "Roni Azulay", "phone": phone, "whatsapp_consent": "on"}).encode()
        return http("POST", url, body, {**headers, "X-Webhook-Token": token})[0]

    def row(lead):
        key = {"subject": {"S": f"lead:{FORM}..{lead}"}, "stage": {"S": "first-touch"}}
        return cloud.client("dynamodb").get_item(TableName=outputs["LedgerTable"], Key=key).get("Item")

    def greeted():
        return [message for message in told() if message["key"].startswith("lead:")]

    say("somebody leaves a number on the website, and again, and once more under another id")
    first, second = (f"L-{secrets.token_hex(6)}" for _ in range(2))
    check(leave(first, token="not the token") == 401, "a lead without the site's token is refused: 401")
    check(leave(first) == leave(first) == leave(second) == 200, "the site's own are accepted: 200")
    (message,) = wait_for("the first touch at the fake EZWhatsApp", greeted, 60)
    print("  told:", *message["body"].splitlines(), sep="\n      | ", flush=True)
    wait_for("the second lead in the ledger", lambda: row(second), 30)
    states = sorted(row(lead)["state"]["S"] for lead in (first, second))
    check(states == ["accepted", "suppressed"] and len(greeted()) == 1, "the ledger says: one accepted, one noted, and one message")
    done = cloud.client("lambda").invoke(FunctionName=ids["LeadFirstTouch"], Payload=json.dumps({"release": FORM}).encode())
    answer = done["Payload"].read().decode()
    check("FunctionError" not in done and json.loads(answer)["released"] == 0, f"its role suffices to let go what is held: {answer}")


def listen(cloud, api_id, secret, told, outputs, ids):
    message, phone = f"wamid_{secrets.token_hex(8)}", "+972525550177"

    def post(delivery, secret=secret, line="line_demo"):
        headers = {
            "Host": f"{api_id}.execute-api.localhost", "Content-Type": "application/json", "X-EZW-Delivery-Id": delivery,
            "X-EZW-Webhook-Event": "messages.post", "X-EZW-Line-Id": line, "X-EZW-Webhook-Id": "hook_1",
        }
        said = {
            "id": message, "conversationId": "conv_emulator", "contactPhoneNumber": phone, "from_me": False,
            "timestamp": int(time.time()), "type": "text", "text": {"body": "this is urgent"},
        }
        body = json.dumps({"event": "messages.post", "messages": [said]}).encode()
        return http("POST", f"{cloud.endpoint}/lines/{LINE}/{secret}", body, headers)[0]

    def tasks():
        subject = f"message:{LINE}:{hashlib.sha256(message.encode()).hexdigest()[:32]}"
        found = cloud.client("dynamodb").query(
            TableName=outputs["LedgerTable"], KeyConditionExpression="subject = :subject",
            ExpressionAttributeValues={":subject": {"S": subject}},
        )["Items"]
        return {item["stage"]["S"]: json.loads(item["record"]["S"])["state"] for item in found}

    def answered():
        return [message for message in told() if message["key"].startswith("webhook-reply:")]

    say("somebody writes on the line, and EZWhatsApp reports it twice")
    check(post("dlv-1", secret="a-guess") == 404, "an address that ends in no secret is none: 404")
    check(post("dlv-1", line="line_other") == 403, "another line's event is refused: 403")
    check(post("dlv-1") == post("dlv-1") == post("dlv-2") == 200, "the line's own are accepted: 200")
    wanted = {f"crm-{crm}": "skipped" if crm == "pipedrive" else "done" for crm in ("hubspot", "own", "pipedrive", "sheet", "zoho")}
    wait_for("the message in every CRM", lambda: tasks() == wanted, 90)
    check(True, "it is in every CRM once, and skipped by the one that does not know the number")
    (answer,) = wait_for("the answer at the fake EZWhatsApp", answered, 30)
    check(answer["key"] == "webhook-reply:dlv-1", "they were answered once, under webhook-reply:dlv-1")
    for payload, expected in (({"source": "aws.events"}, None), ({"opt_out": phone}, {"changed": True}), ({"opt_in": phone}, {"changed": True})):
        done = cloud.client("lambda").invoke(FunctionName=ids["ConversationSync"], Payload=json.dumps(payload).encode())
        said = done["Payload"].read().decode()
        check("FunctionError" not in done and json.loads(said) == expected, f"its role suffices for {', '.join(payload)}: {said}")
    check(tasks() == wanted and len(answered()) == 1, "the clock finds nothing left to do")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the folder that sam build made")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--emulator", required=True, help="the ministack command")
    arguments = parser.parse_args()
    started = time.monotonic()
    # Being told to end is no reason to leave anything behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("FAILED: told to end"))

    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellonce-emulator-")))
        cloud = Cloud(free_port())
        ezw_port, local_port = free_port(), free_port()
        ezw = f"http://127.0.0.1:{ezw_port}"

        say("start the emulator, with IAM enforced, and the fake EZWhatsApp")
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
        # The local stack brings the fake EZWhatsApp with it, and the stand-ins for who is asked; nobody calls on the rest of it here.
        fake = [
            str(ROOT / "target" / "debug" / "local"), "--no-build", "--state", str(folder / "local"),
            "--port", str(local_port), "--ezw-port", str(ezw_port),
        ]
        stack.enter_context(running("the local stack", fake, dict(os.environ), folder / "local.log"))
        wait_for("MiniStack", lambda: http("GET", f"{cloud.endpoint}/_ministack/health")[0] == 200, 60)
        wait_for("the fake EZWhatsApp", lambda: http("GET", f"{ezw}/_fake/state")[0] == 200, 30)

        def told():
            state = json.loads(http("GET", f"{ezw}/_fake/state")[1])
            return [message for message in state["messages"] if message["direction"] == "to_customer"]

        say("create the demo client's secrets and deploy the template")
        values = make_secrets(cloud)
        outputs = deploy(cloud, folder, arguments.build, arguments.architecture, ezw, f"http://127.0.0.1:{local_port}")
        ids = resources(cloud)
        functions = [ids[name] for name in ("WebhookReceiver", "OrderNotifier", "ReminderScheduler", "LeadFirstTouch", "ConversationSync")]
        mount_layers(cloud, folder, functions)
        routes = import_routes(cloud, outputs["ApiId"], ids["WebhookReceiver"])
        wanted = [
            "GET /leads/{form}", "POST /bookings/{calendar}", "POST /leads/{form}", "POST /leads/{form}/{secret}",
            "POST /lines/{line}/{secret}", "POST /stores/{store}",
        ]
        check(sorted(routes) == wanted, f"deployed {len(ids)} resources, and the routes {' and '.join(wanted)}")

        def sender(path, name):
            secret = values[f"{outputs['SecretsPrefix']}/webhooks/{name}"]
            return Sender(cloud, outputs["ApiId"], f"/{path}/{name}", secret)

        tell(cloud, sender("stores", STORE), told, outputs, ids)
        remind(cloud, sender("bookings", CALENDAR), told, outputs, ids)
        token = values[f"{outputs['SecretsPrefix']}/webhooks/{FORM}"]
        greet(cloud, outputs["ApiId"], token, told, outputs, ids)
        listen(cloud, outputs["ApiId"], values[f"{outputs['SecretsPrefix']}/webhooks/{LINE}/line"], told, outputs, ids)
    say(f"told, reminded, greeted and answered once, in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

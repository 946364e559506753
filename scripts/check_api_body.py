#!/usr/bin/env python3
"""Validates the OpenAPI body that SAM makes for the HTTP API of template.yaml.

API Gateway imports that body, and no other check reads it: `sam validate` and cfn-lint do not look
inside. The script translates the template as CloudFormation does. It fails if the body is not valid
OpenAPI, or if an operation has no integration (a path of DefinitionBody without an event of
webhook-receiver).

After `. scripts/tools.sh`, as in .ci/run:

    "$TELLONCE_TOOLS/checks/bin/python" scripts/check_api_body.py "$TELLONCE_TOOLS/sam/bin/python"

The first Python has openapi-spec-validator, the second aws-sam-translator.
"""

import json
import os
import pathlib
import subprocess
import sys

from openapi_spec_validator import OpenAPIV30SpecValidator

ROOT = pathlib.Path(__file__).resolve().parent.parent
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace", "x-amazon-apigateway-any-method"}

# Runs in the environment of SAM. Before a translation, `sam package` replaces local paths by S3
# URIs.
TRANSLATE = """
import json, sys
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

class NoManagedPolicies:
    def load(self):
        return {}

template = yaml_parse(open(sys.argv[1]).read())
template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
for resource in template["Resources"].values():
    if "CodeUri" in resource.get("Properties", {}):
        resource["Properties"]["CodeUri"] = "s3://bucket/key"
    if resource["Type"] == "AWS::Serverless::LayerVersion":
        resource["Properties"]["ContentUri"] = "s3://bucket/key"
json.dump(transform(template, {}, NoManagedPolicies())["Resources"], sys.stdout)
"""


def without_functions(value):
    """The body as CloudFormation passes it on: each intrinsic function here gives a text."""
    if isinstance(value, list):
        return [without_functions(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (next(iter(value)) == "Ref" or next(iter(value)).startswith("Fn::")):
        return "text"
    return {name: without_functions(item) for name, item in value.items()}


def main():
    (python,) = sys.argv[1:]
    # The translation needs a region and sends no request.
    environment = {"AWS_DEFAULT_REGION": "eu-central-1", **os.environ}
    command = [python, "-c", TRANSLATE, str(ROOT / "template.yaml")]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    resources = json.loads(done.stdout)
    bodies = {
        name: without_functions(resource["Properties"]["Body"])
        for name, resource in resources.items()
        if resource["Type"] == "AWS::ApiGatewayV2::Api"
    }
    problems = [] if bodies else ["template.yaml has no HTTP API"]
    for name, body in bodies.items():
        for error in OpenAPIV30SpecValidator(body).iter_errors():
            problems.append(f"{name}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
        for path, operations in body["paths"].items():
            for method, operation in operations.items():
                if method in METHODS and "x-amazon-apigateway-integration" not in operation:
                    problems.append(f"{name}: {method.upper()} {path} has no integration: no function has such an event")
        print(f"{name}: {len(body['paths'])} paths")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

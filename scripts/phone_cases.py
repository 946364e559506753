#!/usr/bin/env python3
"""Writes the numbers that the tests compare with another implementation of libphonenumber.

    python3 -m venv /tmp/phones && /tmp/phones/bin/pip install --require-hashes -r scripts/requirements-phones.txt
    /tmp/phones/bin/python scripts/phone_cases.py > shared/src/contact/second_opinion.json

The tests need no Python: they read the file. The implementation is the PyPI package
`phonenumbers`. Its example numbers belong to no customer.
"""

import json

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

REGIONS = [
    "IL", "PS", "US", "CA", "GB", "IE", "FR", "DE", "AT", "CH", "BE", "NL", "ES", "PT", "IT", "GR", "CY", "SE",
    "NO", "DK", "FI", "PL", "CZ", "HU", "RO", "BG", "UA", "RU", "TR", "GE", "AE", "SA", "JO", "EG", "MA", "ZA",
    "NG", "KE", "IN", "TH", "VN", "JP", "KR", "SG", "AU", "NZ", "BR", "AR", "MX", "CL",
]
# What people type wrongly: too short, too long, a prefix that is not assigned, no area code.
ODD = [("054555", "IL"), ("05455501990", "IL"), ("0199", "US"), ("5550123", "US"), ("012345", "GB"), ("09999", "DE")]


def kind(number):
    """Whether a number is a mobile, a landline, either of them, or neither."""
    found = phonenumbers.number_type(number)
    return {
        PhoneNumberType.MOBILE: "mobile",
        PhoneNumberType.FIXED_LINE: "fixed",
        PhoneNumberType.FIXED_LINE_OR_MOBILE: "either",
    }.get(found, "other")


def case(text, region):
    number = phonenumbers.parse(text, region)
    return {
        "text": text,
        "country": region,
        "e164": phonenumbers.format_number(number, PhoneNumberFormat.E164),
        "valid": phonenumbers.is_valid_number(number),
        "kind": kind(number),
    }


def main():
    cases = [case(text, region) for text, region in ODD]
    for region in REGIONS:
        for wanted in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE):
            example = phonenumbers.example_number_for_type(region, wanted)
            for style in (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL):
                cases.append(case(phonenumbers.format_number(example, style), region))
    lines = ",\n    ".join(json.dumps(one) for one in cases)
    print(f'{{\n  "package": "phonenumbers {phonenumbers.__version__}",\n  "cases": [\n    {lines}\n  ]\n}}')


if __name__ == "__main__":
    main()

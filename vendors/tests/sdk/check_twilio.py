"""Twilio's own validator and ours: `check_twilio.py < CASES`.

A case is a line of JSON: the URL, the parameters, our signature, and whether it must be taken. Answers one line per case
with Twilio's own signature, and exits non-zero at the first difference.
"""

import json
import sys

from twilio.request_validator import RequestValidator


class Form(dict):
    """A form as web frameworks have it: a name may have several values."""

    def getall(self, name):
        return self[name]


for number, line in enumerate(sys.stdin):
    case = json.loads(line)
    validator = RequestValidator(case["token"])
    parameters = Form()
    for name, value in case["parameters"]:
        parameters.setdefault(name, []).append(value)
    taken = validator.validate(case["url"], parameters, case["signature"])
    if taken != case["valid"]:
        sys.exit(f"FAILED case {number}: taken {taken}: {line}")
    print(validator.compute_signature(case["url"], parameters))

"""The libraries that receivers verify with, and ours: `check_webhooks.py < CASES`.

A case is a line of JSON: the request's headers and body, a secret, and whether it must be taken with that. Exits non-zero
at the first difference.
"""

import json
import sys

import standardwebhooks
import svix

LIBRARIES = [
    (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
    (svix.webhooks.Webhook, svix.webhooks.WebhookVerificationError),
]

for number, line in enumerate(sys.stdin):
    case = json.loads(line)
    for library, refusal in LIBRARIES:
        try:
            told = library(case["secret"]).verify(case["body"], case["headers"])
            # One of them only raises, and tells nothing.
            taken = told is None or told == json.loads(case["body"])
        except refusal:
            taken = False
        if taken != case["valid"]:
            sys.exit(f"FAILED case {number} with {library.__module__}: taken {taken}: {line}")
    print(f"ok {number}")

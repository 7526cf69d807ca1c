"""A whole call, held with us by others' code: `hold_a_call.py < CALL`.

Twilio's own package signs the webhook. streamdouble opens the stream that the answer asks for, and is the telephone: it
hears the first sentence of the greeting to its end, says `wav` over the second, is told to be silent, hears the answer, and
hangs up. Prints what it saw as JSON.
"""

import asyncio
import json
import sys
import urllib.request
from urllib.parse import urlencode
from xml.etree import ElementTree

from streamdouble import scenario
from streamdouble.protocol import StreamIdentity
from streamdouble.session import Session, SessionConfig
from twilio.request_validator import RequestValidator

PATIENCE_S = 60
# The answer is over when nothing came for so long; it also begins within this time.
QUIET_S = 6.0

call = json.load(sys.stdin)

url = call["public_url"] + call["path"]
signature = RequestValidator(call["token"]).compute_signature(url, call["form"])
webhook = urllib.request.Request(
    call["base_url"] + call["path"], urlencode(call["form"]).encode(), {"X-Twilio-Signature": signature}
)
with urllib.request.urlopen(webhook, timeout=PATIENCE_S) as answer:
    twiml = ElementTree.fromstring(answer.read())
stream = twiml.find("Connect/Stream")
parameters = {parameter.get("name"): parameter.get("value") for parameter in stream.findall("Parameter")}
address = stream.get("url").replace(
    call["public_url"].replace("http", "ws", 1), call["base_url"].replace("http", "ws", 1)
)

steps = [
    {"wait_for": {"event": "mark", "timeout": PATIENCE_S}},
    {"say": call["wav"]},
    {"wait_for": {"event": "clear", "timeout": PATIENCE_S}},
    {"expect": "clear"},
    {"wait_for": {"event": "quiet", "timeout": PATIENCE_S}},
    {"expect": "no_violations"},
]
session = Session(
    address,
    scenario=scenario.parse({"name": "a call", "steps": steps}),
    config=SessionConfig(custom_parameters=parameters, quiet_period_s=QUIET_S),
    identity=StreamIdentity(account_sid=call["form"]["AccountSid"], call_sid=call["form"]["CallSid"]),
)
seen = asyncio.run(session.run())


def bytes_heard(since, until):
    events = seen.events_of("media_received")
    return sum(event.detail["bytes"] for event in events if since <= event.at < until)


cleared = [event.at for event in seen.events_of("clear_received")]
echoed = [event.at for event in seen.events_of("mark_echoed")]
print(
    json.dumps(
        {
            "violations": [str(violation) for violation in seen.violations],
            "unknown_events": seen.unknown_events,
            "failed": seen.failed_expectations,
            "clears": len(cleared),
            "marks_before_clear": sum(at < cleared[0] for at in echoed) if cleared else None,
            "marks_after_clear": sum(at > cleared[0] for at in echoed) if cleared else None,
            "heard_before_clear_ms": bytes_heard(0, cleared[0]) / 8 if cleared else None,
            "heard_after_clear_ms": bytes_heard(cleared[0], float("inf")) / 8 if cleared else None,
            "stopped": len(seen.events_of("sent_stop")),
            "closed_by": seen.closed_by,
        }
    )
)

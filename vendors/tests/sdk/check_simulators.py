"""Each vendor's own SDK against the simulators: `check_simulators.py BASE_URL`.

Prints one line per check and exits non-zero at the first mismatch.
"""

import json
import sys
import urllib.request

import anthropic
import groq
import openai
from google import genai
from google.genai import errors, types

BASE = sys.argv[1].rstrip("/")
KEY = "a-key-for-tests"
SYSTEM = "You are the assistant of TechCorp."
GREETING = "Hello! I am the assistant of TechCorp. How can I help you today?"
QUESTION = "What is the status of invoice INV-TC-001?"
TWO = "What of INV-TC-001 and INV-TC-002?"
ARGUMENTS = [{"invoice_id": "INV-TC-001"}, {"invoice_id": "INV-TC-002"}]
INVOICE = {"amount": "15000.00", "currency": "USD", "status": "paid"}
SCHEMA = {"type": "object", "properties": {"invoice_id": {"type": "string"}}, "required": ["invoice_id"]}
DESCRIPTION = "Looks up an invoice"


def sentence(arguments):
    return f"Invoice {arguments['invoice_id']} is 15,000.00 USD and its status is paid."


def same(what, found, wanted):
    if found != wanted:
        sys.exit(f"FAILED {what}: {found!r} is not {wanted!r}")


class Chat:
    """Chat completions, through the SDK of OpenAI or the one of Groq."""

    tool = {"type": "function", "function": {"name": "invoice_lookup", "description": DESCRIPTION, "parameters": SCHEMA}}

    def __init__(self, vendor, sdk, client, model):
        self.vendor, self.client, self.model = vendor, client, model
        self.rate_limited, self.unauthorized = sdk.RateLimitError, sdk.AuthenticationError

    def start(self, question):
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]

    def ask(self, history, stream):
        request = {"model": self.model, "messages": history, "tools": [self.tool]}
        if not stream:
            answer = self.client.chat.completions.create(**request)
            message = answer.choices[0].message
            calls = [call.model_dump() for call in message.tool_calls or []]
            self.check_end(answer.choices[0].finish_reason, calls, answer.usage)
            return message.content or "", self.parsed(calls)
        text, calls, usage, finish = "", {}, None, None
        if self.vendor != "groq":
            request["stream_options"] = {"include_usage": True}
        for chunk in self.client.chat.completions.create(stream=True, **request):
            usage = getattr(getattr(chunk, "x_groq", None), "usage", None) or chunk.usage or usage
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                text += choice.delta.content or ""
                for part in choice.delta.tool_calls or []:
                    call = calls.setdefault(part.index, {"id": None, "function": {"name": None, "arguments": ""}})
                    call["id"] = call["id"] or part.id
                    call["function"]["name"] = call["function"]["name"] or part.function.name
                    call["function"]["arguments"] += part.function.arguments or ""
        calls = list(calls.values())
        self.check_end(finish, calls, usage)
        return text, self.parsed(calls)

    def check_end(self, finish, calls, usage):
        same(f"{self.vendor} finish", finish, "tool_calls" if calls else "stop")
        same(f"{self.vendor} usage", usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)

    def parsed(self, calls):
        self.last = calls
        return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]

    def answered(self, history, results):
        calls = [{"id": c["id"], "type": "function", "function": c["function"]} for c in self.last]
        tools = [
            {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)}
            for call, result in zip(calls, results)
        ]
        return [*history, {"role": "assistant", "content": None, "tool_calls": calls}, *tools]


class Anthropic:
    vendor = "anthropic"
    tool = {"name": "invoice_lookup", "description": DESCRIPTION, "input_schema": SCHEMA}
    rate_limited, unauthorized = anthropic.RateLimitError, anthropic.AuthenticationError

    def __init__(self):
        self.client = anthropic.Anthropic(api_key=KEY, base_url=f"{BASE}/anthropic", max_retries=0)

    def start(self, question):
        return [{"role": "user", "content": question}]

    def ask(self, history, stream):
        request = {"model": "claude-test", "max_tokens": 500, "system": SYSTEM, "messages": history, "tools": [self.tool]}
        text = ""
        if stream:
            with self.client.messages.stream(**request) as events:
                for piece in events.text_stream:
                    text += piece
                message = events.get_final_message()
        else:
            message = self.client.messages.create(**request)
            text = "".join(block.text for block in message.content if block.type == "text")
        self.last = [block for block in message.content if block.type == "tool_use"]
        same("anthropic stop reason", message.stop_reason, "tool_use" if self.last else "end_turn")
        same("anthropic usage", message.usage.output_tokens > 1, True)
        return text, [(call.name, call.input) for call in self.last]

    def answered(self, history, results):
        calls = [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.input} for c in self.last]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": json.dumps(result)}
            for call, result in zip(self.last, results)
        ]
        return [*history, {"role": "assistant", "content": calls}, {"role": "user", "content": results}]


class Google:
    """Its SDK has one class for all errors that are the client's."""

    vendor = "google"
    rate_limited = unauthorized = errors.ClientError

    def __init__(self):
        self.client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=f"{BASE}/google"))
        declaration = types.FunctionDeclaration(
            name="invoice_lookup", description=DESCRIPTION, parameters_json_schema=SCHEMA
        )
        self.config = types.GenerateContentConfig(
            system_instruction=SYSTEM,
            tools=[types.Tool(function_declarations=[declaration])],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )

    def start(self, question):
        return [types.Content(role="user", parts=[types.Part(text=question)])]

    def ask(self, history, stream):
        request = {"model": "gemini-test", "contents": history, "config": self.config}
        models = self.client.models
        chunks = list(models.generate_content_stream(**request)) if stream else [models.generate_content(**request)]
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
        self.last = [part for part in parts if part.function_call]
        same("google finish", chunks[-1].candidates[0].finish_reason, types.FinishReason.STOP)
        usage = chunks[-1].usage_metadata
        same("google usage", usage.total_token_count, usage.prompt_token_count + usage.candidates_token_count)
        text = "".join(part.text or "" for part in parts)
        return text, [(part.function_call.name, part.function_call.args) for part in self.last]

    def answered(self, history, results):
        responses = [
            types.Part.from_function_response(name=part.function_call.name, response=result)
            for part, result in zip(self.last, results)
        ]
        called = types.Content(role="model", parts=self.last)
        return [*history, called, types.Content(role="user", parts=responses)]


def control(vendor, changes):
    request = urllib.request.Request(f"{BASE}/_control/{vendor}", json.dumps(changes).encode(), method="PUT")
    urllib.request.urlopen(request).close()


def passed(vendor, check):
    print(f"ok {vendor}: {check}", flush=True)


def check(vendor):
    for stream in [False, True]:
        how = "streamed" if stream else "whole"
        same(f"{vendor.vendor} plain {how}", vendor.ask(vendor.start("Hello"), stream), (GREETING, []))
        passed(vendor.vendor, f"a plain answer, {how}")

        for question, wanted in [(QUESTION, ARGUMENTS[:1]), (TWO, ARGUMENTS)]:
            history = vendor.start(question)
            calls = [("invoice_lookup", arguments) for arguments in wanted]
            same(f"{vendor.vendor} calls {how}", vendor.ask(history, stream), ("", calls))
            history = vendor.answered(history, [INVOICE | arguments for arguments in wanted])
            said = " ".join(sentence(arguments) for arguments in wanted)
            same(f"{vendor.vendor} result {how}", vendor.ask(history, stream), (said, []))
            passed(vendor.vendor, f"{len(wanted)} tool call(s) and the answer, {how}")

    for status, expected in [(429, vendor.rate_limited), (401, vendor.unauthorized)]:
        control(vendor.vendor, {"failure_rate": 1, "status": status, "retry_after": 1})
        try:
            vendor.ask(vendor.start("Hello"), False)
            sys.exit(f"FAILED {vendor.vendor}: no error at {status}")
        except expected as error:
            same(f"{vendor.vendor} status", getattr(error, "status_code", None) or error.code, status)
            passed(vendor.vendor, f"{status} raises {type(error).__name__}")
    control(vendor.vendor, {"failure_rate": 0})


def main():
    quick = {"api_key": KEY, "max_retries": 0}
    check(Chat("openai", openai, openai.OpenAI(base_url=f"{BASE}/openai/v1", **quick), "gpt-test"))
    check(Chat("groq", groq, groq.Groq(base_url=f"{BASE}/groq", **quick), "llama-test"))
    check(Chat("deepseek", openai, openai.OpenAI(base_url=f"{BASE}/deepseek", **quick), "deepseek-test-reasoner"))
    check(Anthropic())
    check(Google())


main()

"""Reports the calls of a client to the program that runs it."""

import json
import os
import sys

# Two programs have the name of the package that they import: packages come first.
sys.path.append(sys.path.pop(0))

DARAJA_URL = os.environ["DARAJA_URL"]


def call(name, act, is_answer):
    """Makes a call, reports it, and waits until everything happened that it caused.

    Returns what the client returned; `None` if it raised an error, or if that is not what Daraja answers.
    """
    value, line = None, {"call": name, "ok": True}
    try:
        returned = act()
        if not is_answer(returned):
            raise ValueError(f"returned {returned!r}")
        value = returned
    except Exception as error:
        text = " ".join(str(error).split())
        line = {"call": name, "ok": False, "error": f"{type(error).__name__}: {text}"}
    print(json.dumps(line), flush=True)
    sys.stdin.readline()
    return value


def is_token(text):
    return len(text) == 28


def is_checkout(text):
    return text.startswith("ws_CO_")


def is_conversation(text):
    return text.startswith("AG_")

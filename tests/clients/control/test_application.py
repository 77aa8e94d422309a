"""An application in Python, and its tests: they control the simulator over HTTP.

The application books payments by receipt. `DARAJA_URL` is the simulator's.
"""

import base64
import json
import os
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

DARAJA = os.environ["DARAJA_URL"]
PHONE = "254712345678"
PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"


def request(method, path, body=None, authorization=None):
    headers = {"content-type": "application/json"}
    if authorization:
        headers["authorization"] = authorization
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(DARAJA + path, data, headers, method=method)
    with urllib.request.urlopen(asked) as answer:
        text = answer.read()
    return json.loads(text) if text else None


class Application:
    """Sends pushes, and receives their callbacks."""

    def __init__(self):
        self.receipts = set()
        self.failures = []
        application = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                application.receive(body["Body"]["stkCallback"])
                answer = b'{"ResultCode":0,"ResultDesc":"Success"}'
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def receive(self, callback):
        if callback["ResultCode"] == 0:
            items = {item["Name"]: item.get("Value") for item in callback["CallbackMetadata"]["Item"]}
            self.receipts.add(items["MpesaReceiptNumber"])
        else:
            self.failures.append(callback["ResultCode"])

    def push(self, phone):
        basic = "Basic " + base64.b64encode(b"key:secret").decode()
        token = request("GET", "/oauth/v1/generate?grant_type=client_credentials", authorization=basic)
        timestamp = "20260101120000"
        password = base64.b64encode(f"174379{PASSKEY}{timestamp}".encode()).decode()
        body = {
            "BusinessShortCode": "174379", "Password": password, "Timestamp": timestamp, "Amount": 100,
            "TransactionType": "CustomerPayBillOnline", "PartyA": phone, "PartyB": "174379", "PhoneNumber": phone,
            "CallBackURL": f"http://127.0.0.1:{self.server.server_port}/stk", "AccountReference": "order-1",
            "TransactionDesc": "An order",
        }
        path = "/mpesa/stkpush/v1/processrequest"
        return request("POST", path, body, "Bearer " + token["access_token"])["CheckoutRequestID"]


@pytest.fixture
def application():
    request("DELETE", "/_/state")
    application = Application()
    yield application
    application.server.shutdown()


def rule(**what):
    request("POST", "/_/rules", {"match": {"product": "push", "party": PHONE}, **what})


def settle():
    request("POST", "/_/clock", {"settle": True})


def test_a_payment_that_is_reported_twice_is_booked_once(application):
    rule(faults=["duplicate", "early"])
    application.push(PHONE)
    settle()
    (push,) = [one for one in request("GET", "/_/journal") if one["path"].endswith("processrequest")]
    assert [callback["status"] for callback in push["callbacks"]] == [200, 200]
    assert len(application.receipts) == 1


def test_a_customer_who_cancels_has_paid_nothing(application):
    rule(ends="1032")
    application.push(PHONE)
    settle()
    assert application.failures == [1032]
    assert not application.receipts


def test_ten_minutes_pass_at_once(application):
    rule(faults=["late"])
    application.push(PHONE)
    request("POST", "/_/clock", {"advance_ms": 9 * 60 * 1000})
    assert not application.receipts
    request("POST", "/_/clock", {"advance_ms": 2 * 60 * 1000})
    assert len(application.receipts) == 1


def test_an_unknown_fault_is_refused(application):
    with pytest.raises(urllib.error.HTTPError) as refused:
        rule(faults=["sunday"])
    assert refused.value.code == 400
    assert "sunday" in refused.value.read().decode()

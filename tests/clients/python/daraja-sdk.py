"""The calls of daraja-sdk. Its URLs are constants."""

from calls import DARAJA_URL, call, is_checkout
from merchant import KEY, PASSKEY, PHONE, SECRET, SHORT_CODE, url

from daraja_sdk import MpesaClient, auth, stk

auth.SANDBOX_AUTH_URL = f"{DARAJA_URL}/oauth/v1/generate?grant_type=client_credentials"
stk.SANDBOX_STK_URL = f"{DARAJA_URL}/mpesa/stkpush/v1/processrequest"
stk.SANDBOX_QUERY_URL = f"{DARAJA_URL}/mpesa/stkpushquery/v1/query"

with MpesaClient(KEY, SECRET, SHORT_CODE, PASSKEY, url("STK")) as client:
    pushed = call(
        "push",
        lambda: client.stk_push_sync(PHONE, 100, account_reference="order-1", transaction_desc="An order"),
        lambda answer: is_checkout(answer["CheckoutRequestID"]),
    )
    call(
        "query",
        lambda: client.query_stk_sync(pushed["CheckoutRequestID"]),
        lambda answer: answer["ResultCode"] == "0",
    )

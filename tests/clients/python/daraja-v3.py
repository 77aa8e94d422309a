"""The calls of daraja-v3. It takes a base URL, `http` on this machine only."""

from calls import DARAJA_URL, call, is_checkout, is_conversation, is_token
from merchant import CREDENTIAL, INITIATOR, KEY, PASSKEY, PHONE, SECRET, SHORT_CODE, url

from mpesa import MpesaClient
from mpesa.auth import Auth

auth = Auth(KEY, SECRET, base_url=DARAJA_URL)
client = MpesaClient(KEY, SECRET, SHORT_CODE, PASSKEY, base_url=DARAJA_URL)
initiator = {"initiator_name": INITIATOR, "security_credential": CREDENTIAL}

call("token", auth.token, is_token)

pushed = call(
    "push",
    lambda: client.stk_push(PHONE, 100, reference="order-1", description="An order", callback_url=url("STK")),
    lambda result: is_checkout(result.checkout_request_id),
)
call("query", lambda: client.stk_query(pushed.checkout_request_id), lambda result: result.is_paid)
call(
    "register_v1",
    lambda: client.c2b_register_urls(url("C2B_VALIDATION"), url("C2B_CONFIRMATION")),
    lambda answer: answer["ResponseCode"] == "0",
)
call(
    "b2c",
    lambda: client.b2c(
        PHONE, 100, remarks="Refund of order-1", callback_url=url("B2C_RESULT"),
        queue_timeout_url=url("B2C_TIMEOUT"), **initiator,
    ),
    lambda result: is_conversation(result.conversation_id),
)
call(
    "balance",
    lambda: client.account_balance(url("BALANCE_RESULT"), queue_timeout_url=url("BALANCE_TIMEOUT"), **initiator),
    lambda answer: answer["ResponseCode"] == "0" and is_conversation(answer["ConversationID"]),
)

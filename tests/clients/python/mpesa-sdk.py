"""The calls of mpesa-sdk. Its base URL is a constant; its requests have Daraja's own members."""

from calls import DARAJA_URL, call, is_checkout, is_conversation, is_token
import merchant
from merchant import KEY, PASSKEY, RECEIPT, SECRET, SHORT_CODE

import mpesa_sdk.urls
from mpesa_sdk import Mpesa, generate_mpesa_express_password, generate_timestamp, oauth_generate_token

mpesa_sdk.urls.SANDBOX_BASE_URL = DARAJA_URL


def signature():
    timestamp = generate_timestamp()
    return {"Password": generate_mpesa_express_password(SHORT_CODE, PASSKEY, timestamp), "Timestamp": timestamp}


# Every call returns the body and the status.
def is_done(answer):
    return answer[0]["ResponseCode"] == "0"


def is_accepted(answer):
    return is_done(answer) and is_conversation(answer[0]["ConversationID"])


def b2b(command):
    identifiers = {"SenderIdentifierType": "4", "RecieverIdentifierType": "4"}
    return mpesa.b2b_payment_request(merchant.to_business(command) | identifiers)


token = call("token", lambda: oauth_generate_token(KEY, SECRET), lambda answer: is_token(answer[0]["access_token"]))
mpesa = Mpesa(token[0]["access_token"])

pushed = call(
    "push",
    lambda: mpesa.mpesa_express_payment(merchant.push() | signature()),
    lambda answer: is_checkout(answer[0]["CheckoutRequestID"]),
)
call(
    "query",
    lambda: mpesa.mpesa_express_query(
        signature() | {"BusinessShortCode": SHORT_CODE, "CheckoutRequestID": pushed[0]["CheckoutRequestID"]}
    ),
    lambda answer: answer[0]["ResultCode"] == "0",
)
call("register_v1", lambda: mpesa.c2b_register_url(merchant.registration()), is_done)
call(
    "simulate_v1",
    lambda: mpesa.c2b_simulate_transaction(merchant.customer_payment("order-2")),
    lambda answer: answer[0]["ResponseDescription"] == "Accept the service request successfully.",
)

paid = call(
    "b2c",
    lambda: mpesa.b2c_payment_request(merchant.to_customer() | {"OriginatorConversationID": "refund-1"}),
    lambda answer: is_accepted(answer) and answer[0]["OriginatorConversationID"] == "refund-1",
)
call("b2b_paybill", lambda: b2b("BusinessPayBill"), is_accepted)
call("b2b_buygoods", lambda: b2b("BusinessBuyGoods"), is_accepted)
call(
    "status",
    lambda: mpesa.transaction_status_request(
        merchant.status(OriginalConversationID=paid[0]["OriginatorConversationID"])
    ),
    is_accepted,
)
call("balance", lambda: mpesa.account_balance_request(merchant.balance()), is_accepted)
call(
    "reversal",
    lambda: mpesa.reversal_request(merchant.reversal(RECEIPT) | {"Occasion": "Paid twice"}),
    is_accepted,
)

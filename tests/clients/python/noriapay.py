"""The calls of noriapay. It takes a base URL; its requests have Daraja's own members."""

from calls import DARAJA_URL, call, is_checkout, is_conversation, is_token
import merchant
from merchant import KEY, PASSKEY, RECEIPT, SECRET, SHORT_CODE

from noriapay import MpesaClient, build_mpesa_stk_password, build_mpesa_timestamp

client = MpesaClient(consumer_key=KEY, consumer_secret=SECRET, base_url=DARAJA_URL)


def signature():
    timestamp = build_mpesa_timestamp()
    password = build_mpesa_stk_password(business_short_code=SHORT_CODE, passkey=PASSKEY, timestamp=timestamp)
    return {"Password": password, "Timestamp": timestamp}


def is_accepted(answer):
    return answer["ResponseCode"] == "0" and is_conversation(answer["ConversationID"])


call("token", client.get_access_token, is_token)

pushed = call(
    "push",
    lambda: client.stk_push(merchant.push() | signature()),
    lambda answer: is_checkout(answer["CheckoutRequestID"]),
)
call(
    "query",
    lambda: client.stk_push_query(
        signature() | {"BusinessShortCode": SHORT_CODE, "CheckoutRequestID": pushed["CheckoutRequestID"]}
    ),
    lambda answer: answer["ResultCode"] == "0",
)

for version in ["v1", "v2"]:
    call(
        f"register_{version}",
        lambda: client.register_c2b_urls(merchant.registration(), version=version),
        lambda answer: answer["ResponseCode"] == "0",
    )

call("b2c", lambda: client.b2c_payment(merchant.to_customer()), is_accepted)
call("b2b_paybill", lambda: client.b2b_payment(merchant.to_business("BusinessPayBill")), is_accepted)
call("b2b_buygoods", lambda: client.b2b_payment(merchant.to_business("BusinessBuyGoods")), is_accepted)
call("status", lambda: client.transaction_status(merchant.status(TransactionID=RECEIPT)), is_accepted)
call("balance", lambda: client.account_balance(merchant.balance()), is_accepted)
call("reversal", lambda: client.reversal(merchant.reversal(RECEIPT)), is_accepted)

# Its type of this request has members of its own.
call(
    "qr",
    lambda: client.generate_qr_code(
        {"MerchantName": "Shop", "MerchantShortCode": SHORT_CODE, "Amount": "100", "QRType": "PB"}
    ),
    lambda answer: answer["QRCode"],
)

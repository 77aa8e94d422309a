"""The calls of daraja-sdk-py. Its base URL is a constant; its requests have Daraja's own members."""

from calls import DARAJA_URL, call, is_checkout, is_conversation, is_token
import merchant
from merchant import CREDENTIAL, INITIATOR, KEY, OTHER_SHORT_CODE, PASSKEY, PHONE, SECRET, SHORT_CODE, invoice, url

import daraja.environment
from daraja import Mpesa

daraja.environment.SANDBOX_BASE_URL = DARAJA_URL
mpesa = Mpesa({
    "consumer_key": KEY, "consumer_secret": SECRET, "passkey": PASSKEY, "initiator_name": INITIATOR,
    "security_credential": CREDENTIAL,
})


def is_done(response):
    return response.ResponseCode == "0"


def is_accepted(response):
    return is_done(response) and is_conversation(response.ConversationID)


call("token", mpesa.get_access_token, is_token)

pushed = call("push", lambda: mpesa.stk_push(merchant.push()), lambda response: is_checkout(response.CheckoutRequestID))
call(
    "query",
    lambda: mpesa.stk_query({"BusinessShortCode": SHORT_CODE, "CheckoutRequestID": pushed.CheckoutRequestID}),
    lambda response: response.ResultCode == "0",
)
call("register_v2", lambda: mpesa.c2b_register_url(merchant.registration()), is_done)

bills = mpesa.bill_manager_service
biller = {
    "shortcode": SHORT_CODE, "email": "bills@example.com", "officialContact": "0708374149", "sendReminders": "1",
    "callbackurl": url("BILL_MANAGER"),
}


def is_success(response):
    return response.rescode == "200"


call("bill_optin", lambda: bills.opt_in(biller), lambda response: is_success(response) and response.app_key)
call("bill_update_optin", lambda: bills.change_opt_in(biller), is_success)
call("bill_invoice", lambda: bills.send_single_invoice(invoice("invoice-1")), is_success)
call(
    "bill_invoices",
    lambda: bills.send_bulk_invoice({"invoices": [invoice("invoice-2"), invoice("invoice-3"), invoice("invoice-4")]}),
    is_success,
)
call("simulate_v2", lambda: mpesa.c2b_simulate(merchant.customer_payment("flat-7")), is_done)


def pull():
    # Today in the simulator's time: the id of a push begins with ws_CO_DDMMYYYY.
    id = pushed.CheckoutRequestID
    today = f"{id[10:14]}-{id[8:10]}-{id[6:8]}"
    return mpesa.pull_transactions_query(
        {"ShortCode": SHORT_CODE, "StartDate": f"{today} 00:00:00", "EndDate": f"{today} 23:59:59", "OffSetValue": "0"}
    )


call(
    "pull_register",
    lambda: mpesa.pull_transactions_register({
        "ShortCode": SHORT_CODE, "RequestType": "Pull", "NominatedNumber": PHONE,
        "CallBackURL": url("C2B_CONFIRMATION"),
    }),
    lambda response: response.ResponseStatus == "1000",
)
pulled = call(
    "pull",
    pull,
    lambda response: [payment.billreference for payment in response.Response[0]] == ["order-1", "flat-7"],
)
order, rent = pulled.Response[0] if pulled else (None, None)

call(
    "bill_reconcile",
    lambda: bills.reconciliation({
        "paymentDate": "2026-01-01", "paidAmount": "100", "accountReference": "flat-7",
        "transactionId": rent.transactionId, "phoneNumber": "0708374149", "fullName": "John Doe",
        "invoiceName": "Rent", "externalReference": "invoice-1",
    }),
    is_success,
)
call("bill_cancel", lambda: bills.cancel_single_invoice({"externalReference": "invoice-2"}), is_success)
call(
    "bill_cancel_bulk",
    lambda: bills.cancel_bulk_invoices(
        {"externalReferences": [{"externalReference": "invoice-3"}, {"externalReference": "invoice-4"}]}
    ),
    is_success,
)

call(
    "b2c",
    lambda: mpesa.b2c(merchant.to_customer() | {"OriginatorConversationID": "refund-1"}),
    lambda response: is_accepted(response) and response.OriginatorConversationID == "refund-1",
)
call(
    "b2pochi",
    lambda: mpesa.b2pochi(merchant.to_customer("BusinessPayToPochi") | {"OriginatorConversationID": "refund-2"}),
    lambda response: is_accepted(response) and response.OriginatorConversationID == "refund-2",
)
call("b2b_paybill", lambda: mpesa.business_pay_bill(merchant.to_business("BusinessPayBill")), is_accepted)
call("b2b_buygoods", lambda: mpesa.business_buy_goods(merchant.to_business("BusinessBuyGoods")), is_accepted)
call("b2c_topup", lambda: mpesa.b2c_account_top_up(merchant.to_business("BusinessPayToBulk")), is_accepted)
call("tax", lambda: mpesa.tax_remittance(merchant.tax()), is_accepted)
call(
    "b2b_express",
    lambda: mpesa.b2b_express({
        "primaryShortCode": OTHER_SHORT_CODE, "receiverShortCode": SHORT_CODE, "amount": "100",
        "paymentRef": "order-3", "callbackUrl": url("B2B_EXPRESS"), "partnerName": "Shop",
        "RequestRefID": "550e8400-e29b-41d4-a716-446655440000",
    }),
    lambda response: response.code == "0",
)

call("status", lambda: mpesa.transaction_status(merchant.status(TransactionID=order.transactionId)), is_accepted)
call("balance", lambda: mpesa.account_balance(merchant.balance()), is_accepted)
call("reversal", lambda: mpesa.reversal(merchant.reversal(order.transactionId)), is_accepted)

call(
    "qr",
    lambda: mpesa.dynamic_qr(
        {"MerchantName": "Shop", "RefNo": "order-4", "Amount": "100", "TrxCode": "PB", "CPI": SHORT_CODE}
    ),
    lambda response: response.ResponseCode == "00" and response.QRCode,
)
call(
    "ratiba",
    lambda: mpesa.ratiba({
        "StandingOrderName": "Rent", "StartDate": "20260105", "EndDate": "20261205", "BusinessShortCode": SHORT_CODE,
        "TransactionType": "Standing Order Customer Pay Bill", "ReceiverPartyIdentifierType": "4", "Amount": "100",
        "PartyA": PHONE, "CallBackURL": url("RATIBA"), "AccountReference": "flat-7", "TransactionDesc": "Rent",
        "Frequency": "4",
    }),
    lambda response: response.ResponseHeader.responseCode == "200",
)

"""The calls of mpesakit. Its HTTP client has a base URL."""

from calls import DARAJA_URL, call, is_checkout, is_conversation, is_token
from merchant import (
    CREDENTIAL, INITIATOR, KEY, OTHER_SHORT_CODE, PASSKEY, PHONE, RECEIPT, SECRET, SHORT_CODE, invoice, url,
)

from mpesakit import MpesaClient
from mpesakit.b2c import B2CCommandIDType
from mpesakit.bill_manager import BillManagerSingleInvoiceRequest
from mpesakit.mpesa_ratiba import FrequencyEnum, ReceiverPartyIdentifierTypeEnum, TransactionTypeEnum
from mpesakit.services import BillService

client = MpesaClient(KEY, SECRET)
client.http_client.base_url = DARAJA_URL


def asks(kind, remarks):
    return {
        "initiator": INITIATOR, "security_credential": CREDENTIAL, "remarks": remarks,
        "result_url": url(f"{kind}_RESULT"), "queue_timeout_url": url(f"{kind}_TIMEOUT"),
    }


def to_business():
    return asks("B2B", "Supplies") | {
        "amount": 100, "party_a": SHORT_CODE, "party_b": OTHER_SHORT_CODE, "account_reference": "353353",
        "requester": PHONE,
    }


def is_successful(response):
    return response.is_successful()


def is_accepted(response):
    return response.is_successful() and is_conversation(response.ConversationID)


call("token", client.token_manager.get_token, is_token)

pushed = call(
    "push",
    lambda: client.stk_push(
        business_short_code=SHORT_CODE, transaction_type="CustomerPayBillOnline", amount=100, party_a=PHONE,
        party_b=SHORT_CODE, phone_number=PHONE, callback_url=url("STK"), account_reference="order-1",
        transaction_desc="An order", passkey=PASSKEY,
    ),
    lambda response: response.is_successful() and is_checkout(response.CheckoutRequestID),
)
call(
    "query",
    lambda: client.stk_query(SHORT_CODE, pushed.CheckoutRequestID, passkey=PASSKEY),
    lambda response: str(response.ResultCode) == "0",
)
call(
    "register_v1",
    lambda: client.c2b.register_url(SHORT_CODE, "Completed", url("C2B_CONFIRMATION"), url("C2B_VALIDATION")),
    is_successful,
)

call(
    "b2c",
    lambda: client.b2c.send_payment(
        originator_conversation_id="refund-1", initiator_name=INITIATOR, security_credential=CREDENTIAL,
        command_id=B2CCommandIDType.BusinessPayment, amount=100, party_a=SHORT_CODE, party_b=PHONE,
        remarks="Refund of order-1", queue_timeout_url=url("B2C_TIMEOUT"), result_url=url("B2C_RESULT"),
    ),
    lambda response: is_accepted(response) and response.OriginatorConversationID == "refund-1",
)
call("b2b_paybill", lambda: client.b2b.paybill(**to_business()), is_accepted)
call("b2b_buygoods", lambda: client.b2b.buygoods(**to_business()), is_accepted)
call("b2c_topup", lambda: client.b2c.account_topup(**to_business()), is_accepted)
call(
    "tax",
    lambda: client.tax.remittance(
        **asks("TAX", "Tax of December"), amount=100, party_a=SHORT_CODE, account_reference="353353"
    ),
    is_accepted,
)
call(
    "b2b_express",
    lambda: client.b2b.express_checkout(
        primary_short_code=OTHER_SHORT_CODE, receiver_short_code=SHORT_CODE, amount=100, payment_ref="order-3",
        callback_url=url("B2B_EXPRESS"), partner_name="Shop", request_ref_id="550e8400-e29b-41d4-a716-446655440000",
    ),
    is_successful,
)

call(
    "status",
    lambda: client.transactions.query_status(
        **asks("STATUS", "Where is it?"), transaction_id=RECEIPT, party_a=SHORT_CODE, identifier_type=4
    ),
    is_accepted,
)
call(
    "balance",
    lambda: client.balance.query(
        **asks("BALANCE", "Daily balance"), command_id="AccountBalance", party_a=SHORT_CODE, identifier_type=4
    ),
    is_accepted,
)
call(
    "reversal",
    lambda: client.reversal.reverse(
        **asks("REVERSAL", "Paid twice"), transaction_id=RECEIPT, amount=100, receiver_party=SHORT_CODE
    ),
    is_accepted,
)

call(
    "qr",
    lambda: client.dynamic_qr.generate("Shop", "order-4", 100, trx_code="PB", cpi=SHORT_CODE, size="300"),
    lambda response: response.is_successful() and response.QRCode,
)
call(
    "ratiba",
    lambda: client.ratiba.create_standing_order(
        standing_order_name="Rent", start_date="20260105", end_date="20261205", business_short_code=SHORT_CODE,
        transaction_type=TransactionTypeEnum.STANDING_ORDER_CUSTOMER_PAY_BILL,
        receiver_party_identifier_type=ReceiverPartyIdentifierTypeEnum.BUSINESS_SHORT_CODE, amount="100",
        party_a=PHONE, callback_url=url("RATIBA"), account_reference="flat-7", transaction_desc="Rent",
        frequency=FrequencyEnum.MONTHLY,
    ),
    is_successful,
)

biller = {
    "shortcode": SHORT_CODE, "email": "bills@example.com", "official_contact": "0708374149", "send_reminders": 1,
    "logo": None, "callback_url": url("BILL_MANAGER"),
}
opted_in = call("bill_optin", lambda: client.bill.opt_in(**biller), is_successful)
# The client's own service has no place for the key.
bills = BillService(client.http_client, client.token_manager, app_key=opted_in and opted_in.app_key)

call("bill_update_optin", lambda: bills.update_opt_in(**biller), is_successful)
call(
    "bill_invoice",
    lambda: bills.send_single_invoice(
        external_reference="invoice-1", billed_full_name="John Doe", billed_phone_number="0708374149",
        billed_period="January 2026", invoice_name="Rent", due_date="2026-01-31", account_reference="flat-7",
        amount=100,
    ),
    is_successful,
)
call(
    "bill_invoices",
    lambda: bills.send_bulk_invoice(
        [BillManagerSingleInvoiceRequest(**invoice(reference)) for reference in ["invoice-2", "invoice-3"]]
    ),
    is_successful,
)
call("bill_cancel", lambda: bills.cancel_single_invoice("invoice-1"), is_successful)
call("bill_cancel_bulk", lambda: bills.cancel_bulk_invoice(["invoice-2", "invoice-3"]), is_successful)

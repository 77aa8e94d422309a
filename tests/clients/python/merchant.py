"""A merchant, and its requests with Daraja's own members, for the clients that pass them on."""

import base64
import os

KEY, SECRET = "key", "secret"
SHORT_CODE, OTHER_SHORT_CODE = "174379", "600000"
# The public one of the sandbox.
PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
PHONE = "254708374149"
INITIATOR = "testapi"
# As long as a password that is encrypted with Safaricom's key of 2,048 bits.
CREDENTIAL = base64.b64encode(bytes(256)).decode()
# An unknown receipt, for clients that cannot ask for a known one: it comes with the callback alone. Daraja accepts
# a request about it, and the result says that there is no such payment.
RECEIPT = "OEI2AK4Q16"


def url(kind):
    """Returns the URL for callbacks of a kind: `STK`, `B2C_RESULT`."""
    return os.environ[f"{kind}_URL"]


def push():
    return {
        "BusinessShortCode": SHORT_CODE, "TransactionType": "CustomerPayBillOnline", "Amount": "100", "PartyA": PHONE,
        "PartyB": SHORT_CODE, "PhoneNumber": PHONE, "CallBackURL": url("STK"), "AccountReference": "order-1",
        "TransactionDesc": "An order",
    }


def registration():
    return {
        "ShortCode": SHORT_CODE, "ResponseType": "Completed", "ConfirmationURL": url("C2B_CONFIRMATION"),
        "ValidationURL": url("C2B_VALIDATION"),
    }


def customer_payment(account):
    return {
        "ShortCode": SHORT_CODE, "CommandID": "CustomerPayBillOnline", "Amount": "100", "Msisdn": PHONE,
        "BillRefNumber": account,
    }


def to_customer(command="BusinessPayment"):
    return asks("B2C", command, "Refund of order-1", name="InitiatorName") | {
        "Amount": "100", "PartyA": SHORT_CODE, "PartyB": PHONE,
    }


def to_business(command):
    return asks("B2B", command, "Supplies") | {
        "Amount": "100", "PartyA": SHORT_CODE, "PartyB": OTHER_SHORT_CODE, "AccountReference": "353353",
    }


def tax():
    return asks("TAX", "PayTaxToKRA", "Tax of December") | {
        "Amount": "100", "PartyA": SHORT_CODE, "PartyB": "572572", "AccountReference": "353353",
    }


def status(**which):
    return asks("STATUS", "TransactionStatusQuery", "Where is it?") | {
        "PartyA": SHORT_CODE, "IdentifierType": "4", **which,
    }


def balance():
    return asks("BALANCE", "AccountBalance", "Daily balance") | {"PartyA": SHORT_CODE, "IdentifierType": "4"}


def reversal(receipt):
    return asks("REVERSAL", "TransactionReversal", "Paid twice") | {
        "TransactionID": receipt, "Amount": "100", "ReceiverParty": SHORT_CODE, "RecieverIdentifierType": "11",
    }


def invoice(reference):
    return {
        "externalReference": reference, "billedFullName": "John Doe", "billedPhoneNumber": "0708374149",
        "billedPeriod": "January 2026", "invoiceName": "Rent", "dueDate": "2026-01-31", "accountReference": "flat-7",
        "amount": "100",
    }


def asks(kind, command, remarks, name="Initiator"):
    """What all requests have that are answered by a result."""
    return {
        name: INITIATOR, "SecurityCredential": CREDENTIAL, "CommandID": command, "Remarks": remarks,
        "ResultURL": url(f"{kind}_RESULT"), "QueueTimeOutURL": url(f"{kind}_TIMEOUT"),
    }

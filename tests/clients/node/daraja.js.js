// The calls of daraja.js. Its base URL is a member of its HTTP client.

const { Mpesa } = require("daraja.js");
const { call, url, DARAJA_URL, SHORT_CODE, PASSKEY, PHONE, INITIATOR, RECEIPT } = require("./calls");

const mpesa = new Mpesa({
  consumerKey: "key",
  consumerSecret: "secret",
  securityCredential: Buffer.alloc(256).toString("base64"),
  organizationShortCode: SHORT_CODE,
});
mpesa._http.baseUrl = DARAJA_URL;

// After an error 500 it returns a stub that is "okay", and empty.
const isDone = (answer) => answer.isOkay() && answer.getResponseCode() === "0";

async function main() {
  await call("token", () => mpesa._getAuthToken(), (token) => token.length === 28);
  const pushed = await call(
    "push",
    () =>
      mpesa.stkPush().shortCode(SHORT_CODE).phoneNumber(Number(PHONE)).amount(100).callbackURL(url("STK"))
        .accountNumber("order-1").description("An order").lipaNaMpesaPassKey(PASSKEY).send(),
    (answer) => isDone(answer) && answer.getTransactionID().startsWith("ws_CO_"),
  );
  await call(
    "query",
    () =>
      mpesa.stkPush().shortCode(SHORT_CODE).lipaNaMpesaPassKey(PASSKEY)
        .checkoutRequestID(pushed.getTransactionID()).queryStatus(),
    (answer) => answer.getResultCode() === "0",
  );
  await call(
    "register_v1",
    () =>
      mpesa.c2b().shortCode(SHORT_CODE).confirmationURL(url("C2B_CONFIRMATION")).validationURL(url("C2B_VALIDATION"))
        .callbackURL(url("C2B_CONFIRMATION")).registerURLS(),
    isDone,
  );
  await call(
    "simulate_v1",
    () => mpesa.c2b().shortCode(SHORT_CODE).accountNumber("order-2").amount(100).phoneNumber(Number(PHONE)).simulate(),
    (answer) => answer.getResponseDescription() === "Accept the service request successfully.",
  );
  await call(
    "b2c",
    () =>
      mpesa.b2c().amount(100).phoneNumber(Number(PHONE)).shortCode(SHORT_CODE).initiatorName(INITIATOR)
        .resultURL(url("B2C_RESULT")).timeoutURL(url("B2C_TIMEOUT")).send(),
    isDone,
  );
  await call(
    "status",
    () =>
      mpesa.transactionStatus().shortCode(SHORT_CODE).initiator(INITIATOR).transactionID(RECEIPT)
        .resultURL(url("STATUS_RESULT")).timeoutURL(url("STATUS_TIMEOUT")).queryStatus(),
    isDone,
  );
  await call(
    "balance",
    () =>
      mpesa.accountBalance().shortCode(SHORT_CODE).initiator(INITIATOR).resultURL(url("BALANCE_RESULT"))
        .timeoutURL(url("BALANCE_TIMEOUT")).query(),
    (answer) => answer.isOkay() && answer.data?.ResponseCode === "0",
  );
  await call(
    "reversal",
    () =>
      mpesa.reversal().amount(100).shortCode(SHORT_CODE).initiator(INITIATOR).transactionID(RECEIPT)
        .resultURL(url("REVERSAL_RESULT")).timeoutURL(url("REVERSAL_TIMEOUT")).send(),
    isDone,
  );
}

main();

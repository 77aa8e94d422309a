// The calls of mpesa-node. Its base URL is a member.

const path = require("node:path");
const Mpesa = require("mpesa-node");
const { call, url, DARAJA_URL, SHORT_CODE, PASSKEY, PHONE, INITIATOR, RECEIPT } = require("./calls");

const mpesa = new Mpesa({
  consumerKey: "key",
  consumerSecret: "secret",
  shortCode: SHORT_CODE,
  initiatorName: INITIATOR,
  lipaNaMpesaShortCode: SHORT_CODE,
  lipaNaMpesaShortPass: PASSKEY,
  securityCredential: "password",
  certPath: path.join(path.dirname(require.resolve("mpesa-node/package.json")), "keys", "sandbox-cert.cer"),
});
mpesa.baseURL = DARAJA_URL;

const isDone = ({ data }) => data.ResponseCode === "0";
const isAccepted = ({ data }) => isDone({ data }) && data.ConversationID.startsWith("AG_");

async function main() {
  await call("token", () => mpesa.oAuth(), ({ data }) => data.access_token.length === 28);
  const pushed = await call(
    "push",
    () => mpesa.lipaNaMpesaOnline(PHONE, 100, url("STK"), "order-1", "An order"),
    ({ data }) => data.CheckoutRequestID.startsWith("ws_CO_"),
  );
  await call(
    "query",
    () => mpesa.lipaNaMpesaQuery(pushed.data.CheckoutRequestID),
    ({ data }) => data.ResultCode === "0",
  );
  await call("register_v1", () => mpesa.c2bRegister(url("C2B_CONFIRMATION"), url("C2B_VALIDATION")), isDone);
  await call(
    "simulate_v1",
    () => mpesa.c2bSimulate(PHONE, 100, "order-2"),
    ({ data }) => data.ConversationID.startsWith("AG_"),
  );
  await call(
    "b2c",
    () => mpesa.b2c(SHORT_CODE, PHONE, 100, url("B2C_TIMEOUT"), url("B2C_RESULT"), "BusinessPayment"),
    isAccepted,
  );
  for (const [name, command] of [["b2b_paybill", "BusinessPayBill"], ["b2b_buygoods", "BusinessBuyGoods"]]) {
    await call(
      name,
      () => mpesa.b2b(SHORT_CODE, "600000", 100, url("B2B_TIMEOUT"), url("B2B_RESULT"), 4, 4, null, command, "353353"),
      isAccepted,
    );
  }
  await call(
    "status",
    () => mpesa.transactionStatus(RECEIPT, SHORT_CODE, 4, url("STATUS_TIMEOUT"), url("STATUS_RESULT")),
    isAccepted,
  );
  await call(
    "balance",
    () => mpesa.accountBalance(SHORT_CODE, 4, url("BALANCE_TIMEOUT"), url("BALANCE_RESULT")),
    isAccepted,
  );
  await call(
    "reversal",
    () => mpesa.reversal(RECEIPT, 100, url("REVERSAL_TIMEOUT"), url("REVERSAL_RESULT")),
    isAccepted,
  );
}

main();

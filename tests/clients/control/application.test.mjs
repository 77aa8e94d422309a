// An application for Node, and its tests: they control the simulator over HTTP.
//
// The application books payments by receipt. `DARAJA_URL` is the simulator's.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, beforeEach, test } from "node:test";

const DARAJA = process.env.DARAJA_URL;
const PHONE = "254712345678";
const PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919";

async function request(method, path, body, authorization) {
  const headers = { "content-type": "application/json", ...(authorization && { authorization }) };
  const answer = await fetch(DARAJA + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
  return text ? JSON.parse(text) : null;
}

let receipts, failures;

const server = createServer(async (asked, answer) => {
  let text = "";
  for await (const part of asked) text += part;
  const callback = JSON.parse(text).Body.stkCallback;
  if (callback.ResultCode === 0) {
    const item = callback.CallbackMetadata.Item.find(({ Name }) => Name === "MpesaReceiptNumber");
    receipts.add(item.Value);
  } else {
    failures.push(callback.ResultCode);
  }
  answer.setHeader("content-type", "application/json");
  answer.end('{"ResultCode":0,"ResultDesc":"Success"}');
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
after(() => server.close());

async function push(phone) {
  const basic = `Basic ${btoa("key:secret")}`;
  const token = await request("GET", "/oauth/v1/generate?grant_type=client_credentials", undefined, basic);
  const Timestamp = "20260101120000";
  const body = {
    BusinessShortCode: "174379", Password: btoa(`174379${PASSKEY}${Timestamp}`), Timestamp, Amount: 100,
    TransactionType: "CustomerPayBillOnline", PartyA: phone, PartyB: "174379", PhoneNumber: phone,
    CallBackURL: `http://127.0.0.1:${server.address().port}/stk`, AccountReference: "order-1",
    TransactionDesc: "An order",
  };
  return request("POST", "/mpesa/stkpush/v1/processrequest", body, `Bearer ${token.access_token}`);
}

const rule = (what) => request("POST", "/_/rules", { match: { product: "push", party: PHONE }, ...what });
const settle = () => request("POST", "/_/clock", { settle: true });

beforeEach(async () => {
  await request("DELETE", "/_/state");
  [receipts, failures] = [new Set(), []];
});

test("a payment that is reported twice is booked once", async () => {
  await rule({ faults: ["duplicate", "early"] });
  await push(PHONE);
  await settle();
  const journal = await request("GET", "/_/journal");
  const { callbacks } = journal.find(({ path }) => path.endsWith("processrequest"));
  assert.deepEqual(callbacks.map(({ status }) => status), [200, 200]);
  assert.equal(receipts.size, 1);
});

test("a customer who cancels has paid nothing", async () => {
  await rule({ ends: "1032" });
  await push(PHONE);
  await settle();
  assert.deepEqual(failures, [1032]);
  assert.equal(receipts.size, 0);
});

test("ten minutes pass at once", async () => {
  await rule({ faults: ["late"] });
  await push(PHONE);
  await request("POST", "/_/clock", { advance_ms: 9 * 60 * 1000 });
  assert.equal(receipts.size, 0);
  await request("POST", "/_/clock", { advance_ms: 2 * 60 * 1000 });
  assert.equal(receipts.size, 1);
});

test("an unknown fault is refused", async () => {
  await assert.rejects(rule({ faults: ["sunday"] }), /400.*sunday/);
});

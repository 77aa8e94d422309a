// Reports the calls of a client to the program that runs it, and what their requests have in common.

const { readSync } = require("node:fs");

// Waits for a line on standard input.
function waitForLine() {
  const byte = Buffer.alloc(1);
  for (;;) {
    try {
      if (readSync(0, byte, 0, 1, null) === 0 || byte[0] === 10) return;
    } catch (error) {
      // The pipe is empty, and Node reads it without waiting.
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

// Makes a call, reports it, and waits until everything happened that it caused. Returns what the client returned.
async function call(name, act, isAnswer) {
  const line = { call: name, ok: true };
  let value;
  try {
    value = await act();
    if (!isAnswer(value)) throw new Error(`returned ${JSON.stringify(value.data ?? value)}`);
  } catch (error) {
    line.ok = false;
    line.error = JSON.stringify(error.response?.data) ?? String(error);
  }
  console.log(JSON.stringify(line));
  waitForLine();
  return value;
}

const url = (kind) => process.env[`${kind}_URL`];

module.exports = {
  call,
  url,
  DARAJA_URL: process.env.DARAJA_URL,
  SHORT_CODE: "174379",
  // The public one of the sandbox.
  PASSKEY: "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919",
  PHONE: "254708374149",
  INITIATOR: "testapi",
  // An unknown receipt: Daraja accepts a request about it, and the result says that there is no such payment.
  RECEIPT: "OEI2AK4Q16",
};

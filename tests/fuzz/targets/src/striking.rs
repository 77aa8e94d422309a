#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpesa_callbacks_fuzz::payloads::striking(data));

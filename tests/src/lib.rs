//! Tests of mpesa-callbacks as a whole: see `tests/`.

//! Dynamic QR codes.

use super::Taken;
use super::answer::Answer;
use super::request::Fields;
use crate::bodies::object;
use crate::state::State;

/// A PNG of one white pixel: the simulator draws no code, and a client only passes the text on.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP6DwABBQECz6AuzQAAAABJRU5ErkJggg==";

/// Answers a request for a code.
pub(super) fn generate(state: &mut State, fields: &Fields) -> Taken {
    fields.required("MerchantName")?;
    fields.required("RefNo")?;
    fields.amount("Amount")?;
    fields.one_of("TrxCode", &["BG", "WA", "PB", "SM", "SB"])?;
    fields.required("CPI")?;
    fields.required("Size")?;
    Ok(Answer::ok(&object([
        // Two digits, as two clients of production expect; the sample of the documentation has an id there.
        ("ResponseCode", "00".into()),
        ("RequestID", state.ids.request().into()),
        ("ResponseDescription", "QR Code Successfully Generated.".into()),
        ("QRCode", PIXEL.into()),
    ])))
}

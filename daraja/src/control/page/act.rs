//! What a person can do: answer phones, pay, push, choose what happens.

use std::fmt::Write;

use super::escaped;
use crate::script::{Fault, Product};
use crate::state::State;

/// Buttons of a phone: result code and label.
const BUTTONS: [(&str, &str); 4] = [("0", "Pay"), ("1032", "Cancel"), ("1", "Too little money"), ("2001", "Wrong PIN")];

const FORMS: &str = r#"<h2>Do</h2>
<details id="pay"><summary>A customer pays</summary>
<form method="post" action="/_/forms/pay">
<label><span>Phone</span> <input name="phone" value="254708374149" required></label>
<label><span>Short code</span> <input name="short_code" value="174379" required></label>
<label><span>KES</span> <input name="amount" type="number" min="1" value="100" required></label>
<label><span>Account</span> <input name="account" value="order-1"></label>
<p><button>Pay</button> to the URLs that are registered for the short code</p>
</form></details>
<details id="push"><summary>A push</summary>
<form method="post" action="/_/forms/push">
<label><span>Phone</span> <input name="phone" value="254708374149" required></label>
<label><span>KES</span> <input name="amount" type="number" min="1" value="100" required></label>
<label><span>Account</span> <input name="account" value="order-1" required></label>
<label><span>Callback URL</span> <input name="callback_url" type="url" value="http://127.0.0.1:3000/" required></label>
<p><button>Send</button> as a client would, from 174379; the journal shows it as curl</p>
</form></details>
"#;

/// Phones that ring.
pub(super) fn phones(page: &mut String, state: &State) {
    *page += "<div id=\"phones\"><h2>Phones</h2>\n";
    let now = state.now();
    let ringing = state.bank.prompts.values().filter(|prompt| prompt.is_open(now) && prompt.truths.is_empty());
    let mut rings = false;
    for prompt in ringing {
        rings = true;
        let id = escaped(&prompt.checkout_request_id);
        let _ = writeln!(
            page,
            "<div class=\"phone\"><p><b>{}</b>: pay KES {} to {} for {}?</p>",
            escaped(&prompt.phone),
            prompt.amount,
            escaped(&prompt.short_code),
            escaped(&prompt.account)
        );
        for (code, label) in BUTTONS {
            let _ = writeln!(
                page,
                "<form class=\"inline\" method=\"post\" action=\"/_/phones/{id}\"><button name=\"code\" value=\"{code}\">{label}</button></form>"
            );
        }
        *page += "</div>\n";
    }
    if !rings {
        *page += "<p>No phone rings.</p>\n";
    }
    *page += "</div>\n";
}

/// Forms.
pub(super) fn forms(page: &mut String) {
    *page += FORMS;
    *page +=
        "<details id=\"rule\"><summary>What happens next</summary>\n<form method=\"post\" action=\"/_/forms/rules\">\n";
    *page += "<label><span>To each</span> <select name=\"product\">";
    for product in Product::ALL {
        let _ = write!(page, "<option>{}</option>", product.name());
    }
    *page += "</select></label>\n<label><span>of</span> <input name=\"party\" placeholder=\"phone or short code; empty: all\"></label>\n";
    *page +=
        "<label><span>Result code</span> <input name=\"ends\" placeholder=\"empty: by the phone number\"></label>\n";
    *page += "<label><span>Fault</span> <select name=\"fault\"><option value=\"\">none</option>";
    for fault in Fault::ALL {
        let _ = write!(page, "<option>{}</option>", fault.name());
    }
    *page += "</select></label>\n<label><input type=\"checkbox\" name=\"once\" value=\"true\"> once</label>\n";
    *page += "<p><button>Add</button></p>\n</form>\n<table><tr><th>Fault<th>What happens</tr>\n";
    for fault in Fault::ALL {
        let _ = writeln!(page, "<tr><td>{}<td>{}</tr>", fault.name(), escaped(fault.timeline()));
    }
    *page +=
        "</table>\n<p><code>A</code> is the answer, <code>C(x)</code> a callback with result code x.</p></details>\n";
}

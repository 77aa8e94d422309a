//! Properties of any input, checked on all fixtures and on variations of them.

use std::fs;
use std::path::Path;

use mpesa_callbacks_conformance::fixtures;
use mpesa_callbacks_core::ForwardedHeader;
use mpesa_callbacks_fuzz::forwarded::{Proxies, slowly, source};
use mpesa_callbacks_fuzz::{attributes, forwarded, payloads, tokens};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[test]
fn every_body_and_every_part_of_it_is_read_or_refused() {
    for fixture in fixtures::all() {
        let body = fixtures::body(&fixture.file);
        payloads::body(&body);
        payloads::striking(&body);
        for cut in (0..body.len()).step_by(17) {
            payloads::body(&body[..cut]);
            payloads::result_parameters(&body[cut..]);
        }
        let text = String::from_utf8_lossy(&body);
        for part in text.split('"') {
            payloads::amount(part.as_bytes());
            payloads::account_balance(part.as_bytes());
        }
    }
    for text in [
        "1",
        "1.00",
        "-0.5",
        "1e3",
        "1.",
        ".5",
        "999999999999999.9999999999",
        "1000000000000000",
        "0x1",
        "1,000",
        "+1",
        "1e-99",
    ] {
        payloads::amount(text.as_bytes());
    }
}

#[test]
fn credentials_are_struck_and_nothing_else() {
    for text in [
        r#"{"SecurityCredential":"x","a":{"Password":{"b":[1,2]}},"c":[{"Key":"InitiatorName","Value":"x"}]}"#,
        r#"[{"Value":"x","Key":"security_credential"},["Password","x"],"{\"Initiator\":\"x\"}"]"#,
        r#"{"BillRefNumber":"password: 7","Remarks":"Initiator=x","Password":null,"Initiator":[],"InitiatorName":1}"#,
        r#"{"\u0050assword":"x","password ":"x"}"#,
        r#""Password""#,
        "[]",
    ] {
        payloads::striking(text.as_bytes());
    }
}

proptest! {
    #[test]
    fn whatever_stands_beside_credentials_stays(
        names in vec(select(vec!["Password", "TransID", "Key", "Value", "Initiator_Name", "a", "\\u0041"]), 1..6),
        values in vec(select(vec!["1", "null", "\"x\"", "[\"Password\",\"x\"]", "{\"Value\":\"x\",\"Key\":\"Password\"}", "\"password=1\""]), 6),
    ) {
        let mut members: Vec<String> = Vec::new();
        for (at, (name, value)) in names.iter().zip(&values).enumerate() {
            if !names[..at].contains(name) {
                members.push(format!("\"{name}\": {value}"));
            }
        }
        payloads::striking(format!("{{{}}}", members.join(" ,")).as_bytes());
    }
}

#[test]
fn every_block_of_the_ui_tests_is_expanded_or_refused() {
    let mut blocks = 0;
    for folder in ["pass", "fail"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../macro-ui/ui").join(folder);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            for block in text.split("#[mpesa_callbacks").skip(1) {
                let Some((arguments, item)) = block.split_once(']') else { continue };
                let arguments = arguments.trim_matches(['(', ')']);
                attributes::block(format!("{arguments}\n{item}").as_bytes());
                for attribute in item.split("#[").skip(1).filter_map(|rest| rest.split_once(']')) {
                    attributes::attribute(attribute.0.as_bytes());
                }
                blocks += 1;
            }
        }
    }
    assert!(blocks > 50, "only {blocks} blocks");
}

#[test]
fn a_token_with_anything_changed_opens_nothing() {
    let good = tokens::good();
    tokens::token(good.as_bytes());
    for at in 0..good.len() {
        for byte in [b'0', b'z', b'A', b'/', b'%'] {
            let mut damaged = good.as_bytes().to_vec();
            damaged[at] = byte;
            tokens::token(&damaged);
        }
        tokens::token(&good.as_bytes()[..at]);
        tokens::token(&good.as_bytes()[at..]);
    }
}

fn headers() -> impl Strategy<Value = ForwardedHeader> {
    select(vec![ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded])
}

fn proxies() -> impl Strategy<Value = Proxies> {
    prop_oneof![Just(Proxies::Network), (0..5_usize).prop_map(Proxies::Hops)]
}

/// Pieces that such headers are made of, and pieces that they are not.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "10.0.0.2",
        "192.0.2.1",
        "192.0.2.1:80",
        "\"[2001:db8::1]:80\"",
        "[::1]",
        "::ffff:10.0.0.3",
        "unknown",
        "_hidden",
        "for=",
        "For=",
        "by=",
        ";",
        ",",
        ", ",
        "\"",
        "\\",
        "=",
        " ",
        "\t",
        "proto=https",
        "for=192.0.2.1",
        "for=10.0.0.2",
    ];
    let known: Vec<Vec<u8>> = known.iter().map(|piece| piece.as_bytes().to_vec()).collect();
    let piece = prop_oneof![12 => select(known), 1 => vec(any::<u8>().prop_filter("a line is a line", |it| !b"\r\n\0".contains(it)), 0..5)];
    vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forwarded_headers_are_read_as_the_slow_reading_does(header in headers(), proxies in proxies(), lines in vec(pieces(), 0..4)) {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(source(header, proxies, &lines), slowly(header, proxies, &lines));
    }

    /// Anything that a client writes, in any number of lines, is to the left of the trusted proxies' elements.
    #[test]
    fn a_clients_prefix_of_any_length_never_changes_the_verdict(
        header in headers(),
        client in any::<[u8; 4]>().prop_map(std::net::Ipv4Addr::from).prop_filter("no proxy", |it| it.octets()[0] != 10),
        inner in 0..3_usize,
        lines in vec(pieces(), 0..3),
        prefix in prop_oneof![pieces(), vec(1..=255_u8, 0..4000).prop_map(|bytes| bytes.into_iter().filter(|it| !b"\r\n".contains(it)).collect())],
        same_line in any::<bool>(),
    ) {
        // The elements that the first trusted proxy and those behind it append.
        let written = |address: String| if header == ForwardedHeader::Forwarded { format!("for={address};proto=https") } else { address };
        let appended: Vec<_> = std::iter::once(client.to_string())
            .chain((0..inner).map(|hop| format!("10.0.0.{}", hop + 2)))
            .map(written)
            .collect();
        let appended = appended.join(", ").into_bytes();
        let mut all: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let joined = [&prefix[..], b", ", &appended].concat();
        if same_line {
            all.push(&joined);
        } else {
            all.extend([&prefix[..], &appended]);
        }
        for proxies in [Proxies::Network, Proxies::Hops(inner + 1)] {
            let alone = source(header, proxies, &[&appended]);
            prop_assert_eq!(&alone, &Ok(client.into()));
            prop_assert_eq!(source(header, proxies, &all), alone);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
        for input in [&bytes[..], text.as_bytes()] {
            payloads::body(input);
            payloads::result_parameters(input);
            payloads::amount(input);
            payloads::account_balance(input);
            forwarded::forwarded(input);
            tokens::token(input);
            attributes::attribute(input);
            attributes::block(input);
        }
    }

    #[test]
    fn any_number_is_read_exactly_or_refused(text in "-?[0-9]{0,17}(\\.[0-9]{0,12})?([eE][-+]?[0-9]{0,3})?") {
        payloads::amount(text.as_bytes());
    }
}

//! The names of credentials.

/// Names in lower case without underscores. Longer ones first, because one is the start of another.
pub(super) const CREDENTIALS: [&str; 6] =
    // The passkey is no member of Daraja's, and some clients send it all the same (mpesakit 2.2.0).
    ["securitycredential", "initiatorpassword", "initiatorname", "initiator", "password", "passkey"];

/// Returns whether a member of this name contains a credential.
pub(super) fn is_credential(name: &str) -> bool {
    let name: String = name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).collect::<String>().to_ascii_lowercase();
    CREDENTIALS.contains(&name.as_str())
}

//! The schema in which the tables are.

use std::borrow::Cow;

use mpesa_callbacks_core::store::StoreError;
use sqlx::AssertSqlSafe;

/// The name that statements are written with, and the default.
const DEFAULT_SCHEMA: &str = "mpesa_callbacks";

/// A schema of PostgreSQL's, by a name that needs no quotes.
#[derive(Clone, Debug)]
pub(super) struct Schema(Cow<'static, str>);

impl Default for Schema {
    fn default() -> Schema {
        Schema(Cow::Borrowed(DEFAULT_SCHEMA))
    }
}

impl Schema {
    /// # Errors
    /// When it is no name: letters, digits and underscores, in lower case, at most 63.
    pub(super) fn new(name: &str) -> Result<Schema, StoreError> {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let is_name = name.bytes().next().is_some_and(is_letter)
            && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
            && name.len() <= 63
            && !name.starts_with("pg_");
        if !is_name {
            let reason = format!(
                "`{name}` is no name of a schema: it has letters a to z, digits and `_`, begins with no digit, and is at most 63 long"
            );
            return Err(StoreError::Open { place: "PostgreSQL".to_owned(), source: reason.into() });
        }
        Ok(Schema(Cow::Owned(name.to_owned())))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Returns a statement of ours, which is written for the default schema, for this one.
    pub(super) fn sql(&self, statement: &'static str) -> AssertSqlSafe<Cow<'static, str>> {
        if self.0 == DEFAULT_SCHEMA {
            return AssertSqlSafe(Cow::Borrowed(statement));
        }
        let statement = statement.replace("mpesa_callbacks.", &format!("{}.", self.0));
        // Where the schema itself is made.
        AssertSqlSafe(Cow::Owned(statement.replace("EXISTS mpesa_callbacks;", &format!("EXISTS {};", self.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_about_the_schema_that_was_chosen() {
        let AssertSqlSafe(sql) =
            Schema::new("school_1").unwrap().sql("SELECT mpesa_callbacks.now_us() FROM mpesa_callbacks.work");
        assert_eq!(sql, "SELECT school_1.now_us() FROM school_1.work");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "1a", "a-b", "A", "a\"b", "a.b", "pg_x", &"a".repeat(64)] {
            assert!(Schema::new(name).is_err(), "{name}");
        }
    }
}

//! Deletes bodies and replaces their keys by HMACs.

use mpesa_callbacks_core::store::{Extent, State};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use mpesa_callbacks_core::store::columns::{hidden_digest, hidden_receipt, pseudonym, state_number};

/// Bodies per step of a purge: a few milliseconds of the writer.
const PURGE_STEP: i64 = 50;

/// Returns some callbacks that may be purged (done, and received before this time) with ids above
/// `behind`, and the id to continue from. `None` if there are no more; or, unless the extent is `All`,
/// if none of these is old enough, because ids follow the time of arrival.
pub(crate) fn purgeable(
    connection: &Connection,
    before: i64,
    behind: i64,
    extent: Extent,
) -> Result<(Vec<i64>, Option<i64>)> {
    // In the order of ids, so that each row is read once.
    let mut bodies = connection.prepare_cached(
        "SELECT callback_id, received_at, state FROM body CROSS JOIN callback ON callback.id = body.callback_id
         WHERE callback_id > ?1 ORDER BY callback_id LIMIT ?2",
    )?;
    let mut rows = bodies.query([behind, PURGE_STEP])?;
    let (mut purgeable, mut last, mut has_old) = (Vec::new(), behind, false);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        let (received_at, state): (i64, i64) = (row.get(1)?, row.get(2)?);
        let is_old = received_at < before;
        has_old |= is_old;
        if is_old && state == state_number(State::Done) {
            purgeable.push(last);
        }
    }
    let is_worth_it = has_old || extent == Extent::All && last > behind;
    Ok((purgeable, is_worth_it.then_some(last)))
}

pub(crate) fn purge(connection: &Connection, ids: &[i64]) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES ('purged', x'01')", [])?;
    let hmac_key = hmac_key(connection)?.unwrap_or_default();
    let mut purged = 0;
    for id in ids {
        let mut done = connection.prepare_cached(
            "SELECT kind, key, body_digest, content_digest, detail, receipt FROM callback WHERE id = ?1 AND state = 2",
        )?;
        let Some(told) = done.query_row([id], Told::read).optional()? else { continue };
        // Another purge has deleted the body and replaced the key, which must not happen twice.
        if connection.prepare_cached("DELETE FROM body WHERE callback_id = ?1")?.execute([id])? == 0 {
            continue;
        }
        told.hide(connection, *id, &hmac_key)?;
        purged += 1;
    }
    Ok(purged)
}

/// The columns that identify a callback beside its body.
struct Told {
    kind: String,
    key: String,
    body_digest: Vec<u8>,
    content_digest: Vec<u8>,
    detail: Option<Vec<u8>>,
    receipt: Option<String>,
}

impl Told {
    fn read(row: &Row<'_>) -> Result<Told> {
        let [kind, key] = [row.get(0)?, row.get(1)?];
        Ok(Told {
            kind,
            key,
            body_digest: row.get(2)?,
            content_digest: row.get(3)?,
            detail: row.get(4)?,
            receipt: row.get(5)?,
        })
    }

    fn hide(&self, connection: &Connection, id: i64, hmac_key: &[u8]) -> Result<()> {
        connection
            .prepare_cached(
                "UPDATE callback SET key = ?2, body_digest = ?3, content_digest = ?4, detail = ?5, receipt = ?6,
                                     told = CASE WHEN reference IS NULL THEN told ELSE -1 END, reference = NULL, client_ip = NULL, error = NULL WHERE id = ?1",
            )?
            .execute(params![
                id,
                pseudonym(hmac_key, &self.kind, &self.key),
                hidden_digest(hmac_key, &self.body_digest),
                hidden_digest(hmac_key, &self.content_digest),
                self.detail.as_ref().map(|detail| hidden_digest(hmac_key, detail)),
                self.receipt.as_ref().map(|receipt| hidden_receipt(hmac_key, receipt)),
            ])?;
        Ok(())
    }
}

/// Returns the quarantined callbacks to delete, so that the others fit the limits. The newest of all
/// is never among them.
pub(crate) fn excess_quarantined(connection: &Connection, rows: u64, bytes: u64) -> Result<Vec<i64>> {
    let mut first_to_stay = connection.prepare_cached(
        "SELECT id, length(body), id = max(id) OVER () FROM callback LEFT JOIN body ON body.callback_id = callback.id
         WHERE state >= 3 AND state = 5 ORDER BY reference IS NOT NULL, id DESC",
    )?;
    let mut found = first_to_stay.query([])?;
    let (mut kept, mut size, mut excess) = (0_u64, 0_u64, Vec::new());
    while let Some(row) = found.next()? {
        kept += 1;
        size = size.saturating_add(row.get::<_, Option<i64>>(1)?.unwrap_or(0).unsigned_abs());
        let is_newest: bool = row.get(2)?;
        if (kept > rows || size > bytes) && !is_newest {
            excess.push(row.get(0)?);
        }
    }
    Ok(excess)
}

/// Deletes those that are still quarantined.
pub(crate) fn trim_quarantine(connection: &Connection, ids: &[i64]) -> Result<u64> {
    let mut trimmed = 0;
    for id in ids {
        let is_quarantined = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM callback WHERE id = ?1 AND state = 5)")?
            .query_row([id], |row| row.get(0))?;
        if is_quarantined {
            connection.prepare_cached("DELETE FROM body WHERE callback_id = ?1")?.execute([id])?;
            connection.prepare_cached("DELETE FROM callback WHERE id = ?1")?.execute([id])?;
            trimmed += 1;
        }
    }
    Ok(trimmed)
}

/// Returns the HMAC key; `None` until something was purged.
pub(super) fn hmac_key(connection: &Connection) -> Result<Option<Vec<u8>>> {
    connection
        .prepare_cached(
            "SELECT value FROM meta WHERE name = 'hmac_key' AND EXISTS (SELECT 1 FROM meta WHERE name = 'purged')",
        )?
        .query_row([], |row| row.get(0))
        .optional()
}

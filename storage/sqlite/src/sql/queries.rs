//! Reading: counts, lists and lookups.

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Sensitive;
use mpesa_callbacks_core::store::{Body, CallbackId, Entry, Filter, Lookup, StateCounts, Waiting};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, params_from_iter};

use super::purge::hmac_key;
use mpesa_callbacks_core::store::columns::{
    client_ip, hidden_receipt, micros, outcome, state, state_number, time, verdict, verdict_number,
};

pub(crate) fn depth(connection: &Connection) -> Result<StateCounts> {
    let mut depth = StateCounts::default();
    // Each count reads its own partial index.
    let mut counts = connection.prepare_cached(
        "SELECT 0, count(*) FROM callback WHERE state = 0 UNION ALL
         SELECT 1, count(*) FROM callback WHERE state = 1 UNION ALL
         SELECT state, count(*) FROM callback WHERE state >= 3 GROUP BY state",
    )?;
    let counts = counts.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    for count in counts {
        let (number, count) = count?;
        depth.add(state(number), u64::try_from(count).unwrap_or(0));
    }
    Ok(depth)
}

const ENTRY_COLUMNS: &str =
    "id, kind, key, verdict, state, received_at, seen, last_seen_at, client_ip, reference, receipt, attempts, run_at,
                     settled_at, error, decision, content_digest, outcome, earlier";

fn entry(row: &Row<'_>) -> Result<Entry> {
    let (id, key) = (CallbackId::from_stored(row.get(0)?), row.get::<_, String>(2)?.into());
    let kind = Kind::from_stored_name(row.get_ref(1)?.as_str()?);
    let mut entry = Entry::new(id, kind, key, verdict(row.get(3)?), state(row.get(4)?), time(row.get(5)?));
    entry.seen = row.get(6)?;
    entry.last_seen_at = time(row.get(7)?);
    entry.client_ip = client_ip(row.get(8)?);
    entry.reference = row.get::<_, Option<String>>(9)?.map(Sensitive::from);
    entry.receipt = row.get(10)?;
    entry.attempts = row.get(11)?;
    entry.run_at = row.get::<_, Option<i64>>(12)?.map(time);
    entry.settled_at = row.get::<_, Option<i64>>(13)?.map(time);
    entry.error = row.get::<_, Option<String>>(14)?.map(Sensitive::from);
    entry.decision = row.get(15)?;
    entry.content_digest = Some(row.get::<_, [u8; 32]>(16)?.into());
    entry.outcome = row.get::<_, Option<i64>>(17)?.and_then(outcome);
    entry.earlier = row.get::<_, Option<i64>>(18)?.map(CallbackId::from_stored);
    Ok(entry)
}

pub(crate) fn get(connection: &Connection, id: CallbackId) -> Result<Option<Entry>> {
    let found = connection
        .prepare_cached(&format!("SELECT {ENTRY_COLUMNS} FROM callback WHERE id = ?1"))?
        .query_row([id.number()], entry)
        .optional()?;
    found.map(|found| with_body(connection, found)).transpose()
}

fn with_body(connection: &Connection, mut entry: Entry) -> Result<Entry> {
    let body: Option<Vec<u8>> = connection
        .prepare_cached("SELECT body FROM body WHERE callback_id = ?1")?
        .query_row([entry.id.number()], |row| row.get(0))
        .optional()?;
    entry.body = body.map(Body::from);
    Ok(entry)
}

pub(crate) fn find(connection: &Connection, lookups: &[Lookup]) -> Result<Vec<Entry>> {
    let hmac_key = hmac_key(connection)?;
    let mut found: Vec<Entry> = Vec::new();
    for lookup in lookups {
        let (condition, values) = match lookup {
            Lookup::Key(kind, key) => {
                ("kind = ?1 AND key = ?2", [Some(kind.name().to_owned()), Some(key.as_str().to_owned())])
            }
            Lookup::Reference(kind, reference) => {
                ("+kind = ?1 AND reference = ?2", [Some(kind.name().to_owned()), Some(reference.as_str().to_owned())])
            }
            Lookup::Receipt(receipt) => {
                let hidden = hmac_key.as_deref().map(|hmac_key| hidden_receipt(hmac_key, receipt));
                ("receipt IN (?1, ?2)", [Some(receipt.clone()), hidden])
            }
            // A lookup that is newer than this version finds nothing.
            _ => continue,
        };
        let mut statement =
            connection.prepare_cached(&format!("SELECT {ENTRY_COLUMNS} FROM callback WHERE {condition}"))?;
        for one in statement.query_map(params_from_iter(values), entry)? {
            let one = one?;
            if found.iter().all(|other| other.id != one.id) {
                found.push(with_body(connection, one)?);
            }
        }
    }
    Ok(found)
}

pub(crate) fn waiting(connection: &Connection) -> Result<Vec<Waiting>> {
    let mut waiting = connection.prepare_cached(
        "SELECT kind, count(*), min(run_at) FROM callback INDEXED BY callback_ready WHERE state = 0 AND lane >= 0 GROUP BY kind",
    )?;
    let waiting = waiting.query_map([], |row| {
        let kind = Kind::from_stored_name(row.get_ref(0)?.as_str()?);
        Ok(Waiting::new(kind, row.get::<_, i64>(1)?.unsigned_abs(), time(row.get(2)?)))
    })?;
    waiting.collect()
}

pub(crate) fn list(connection: &Connection, filter: &Filter) -> Result<Vec<Entry>> {
    let mut conditions = vec!["true".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |text: &str, value: Value| {
        values.push(value);
        conditions.push(format!("{text} ?{}", values.len()));
    };
    if let Some(kind) = &filter.kind {
        // `+`: not by the index of keys, whose rows would have to be sorted.
        condition("+kind =", kind.name().to_owned().into());
    }
    if let Some(verdict) = filter.verdict {
        condition("verdict =", verdict_number(verdict).into());
    }
    if let Some(reference) = &filter.reference {
        condition("reference =", reference.as_str().to_owned().into());
    }
    if let Some(since) = filter.since {
        condition("received_at >=", micros(since).into());
    }
    if let Some(until) = filter.until {
        condition("received_at <", micros(until).into());
    }
    if let Some(before) = filter.before {
        condition("id <", before.number().into());
    }
    if let Some(state) = filter.state {
        // A literal, so that the planner sees which partial index has it.
        conditions.push(format!("state = {}", state_number(state)));
        if state_number(state) >= 3 {
            conditions.push("state >= 3".into());
        }
    }
    values.push(i64::try_from(filter.limit).unwrap_or(i64::MAX).into());
    let sql = format!(
        "SELECT {ENTRY_COLUMNS} FROM callback WHERE {} ORDER BY id DESC LIMIT ?{}",
        conditions.join(" AND "),
        values.len()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let entries = statement.query_map(params_from_iter(values), entry)?;
    entries.collect()
}

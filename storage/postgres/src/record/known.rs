//! The stored rows of a delivery's key and receipt.

use std::collections::{HashMap, HashSet};

use mpesa_callbacks_core::payload::Digest;
use mpesa_callbacks_core::store::{CallbackId, Delivery, DeliveryId, Known};
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::{Again, Place};
use crate::schema::Schema;
use crate::text;
use mpesa_callbacks_core::store::columns::{hidden_receipt, outcome, pseudonym, shown, verdict};

/// Keys and receipts of deliveries as columns.
#[derive(Default)]
pub(super) struct Names {
    at: Vec<i32>,
    kinds: Vec<String>,
    keys: Vec<String>,
    receipts: Vec<String>,
}

impl Names {
    pub(super) fn of(deliveries: &[&Delivery], open: &[usize], hmac_key: &[u8]) -> Names {
        let mut names = Names::default();
        for index in open {
            let delivery = deliveries[*index];
            let (kind, key) = (delivery.kind.name(), text(delivery.key.as_str()));
            // A purge may replace the key meanwhile; then its replacement is found.
            for name in [key.to_string(), pseudonym(hmac_key, kind, &key)] {
                names.at.push(i32::try_from(*index).unwrap_or(i32::MAX));
                names.kinds.push(kind.to_owned());
                names.keys.push(name);
            }
            if let Some(receipt) = delivery.receipt.as_deref().map(text) {
                names.receipts.push(hidden_receipt(hmac_key, &receipt));
                names.receipts.push(receipt.into_owned());
            }
        }
        names
    }
}

/// A stored callback with the key of one of the deliveries.
pub(super) struct Earlier {
    pub(super) at: usize,
    pub(super) known: Known,
    pub(super) is_purged: bool,
    pub(super) delivery: DeliveryId,
    pub(super) decision: Option<String>,
}

impl Earlier {
    pub(super) fn shown(&self, delivery: &Delivery, hmac_key: &[u8]) -> Known {
        if self.is_purged { shown(self.known, delivery, hmac_key) } else { self.known }
    }
}

/// Reads the stored rows of the keys.
pub(super) async fn look(connection: &mut PgConnection, schema: &Schema, names: &Names) -> sqlx::Result<Vec<Earlier>> {
    let rows = sqlx::query(schema.sql(
        "SELECT at, id, body_digest, content_digest, detail, outcome, verdict, delivery, decision, callback.key LIKE 'hmac:%' AS is_purged
         FROM mpesa_callbacks.callback JOIN unnest($1::int[], $2::text[], $3::text[]) AS asked (at, kind, key) USING (kind, key)
         WHERE callback.kind = ANY($2) AND callback.key = ANY($3)
         ORDER BY id",
    ));
    let rows = rows.bind(&names.at).bind(&names.kinds).bind(&names.keys).fetch_all(connection).await?;
    let digest = |bytes: Vec<u8>| Digest::from(<[u8; 32]>::try_from(bytes).unwrap_or_default());
    let earlier = rows.iter().map(|row| {
        Ok(Earlier {
            at: usize::try_from(row.try_get::<i32, _>("at")?).unwrap_or(usize::MAX),
            known: Known {
                id: CallbackId::from_stored(row.try_get("id")?),
                body_digest: digest(row.try_get("body_digest")?),
                content_digest: digest(row.try_get("content_digest")?),
                detail: row.try_get::<Option<Vec<u8>>, _>("detail")?.map(digest),
                outcome: row.try_get::<Option<i16>, _>("outcome")?.and_then(|number| outcome(number.into())),
                verdict: verdict(row.try_get::<i16, _>("verdict")?.into()),
            },
            is_purged: row.try_get("is_purged")?,
            delivery: DeliveryId::from_stored(row.try_get("delivery")?),
            decision: row.try_get("decision")?,
        })
    });
    earlier.collect()
}

/// Returns the same, locked until the transaction ends. Also locks the owners of receipts, so that
/// callbacks that contradict them are judged one after the other.
pub(super) async fn look_locked(
    connection: &mut PgConnection,
    schema: &Schema,
    names: &Names,
    repeated: &[Again],
) -> sqlx::Result<Vec<Earlier>> {
    // Repeated callbacks are written later, and locked here for the order of locks.
    let repeated: Vec<i64> = repeated.iter().map(|again| again.id.number()).collect();
    // Lock, then read: another transaction may have added a row to the key meanwhile. It is locked in
    // the next round.
    let mut locked: HashSet<i64> = HashSet::new();
    loop {
        let ids: Vec<i64> = sqlx::query_scalar(schema.sql(
            "SELECT id FROM mpesa_callbacks.callback
             WHERE key = ANY($1) OR receipt = ANY($2) AND verdict IN (0, 5) OR id = ANY($3)
             ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR NO KEY UPDATE",
        ))
        .bind(&names.keys)
        .bind(&names.receipts)
        .bind(&repeated)
        .fetch_all(&mut *connection)
        .await?;
        locked.extend(ids);
        let earlier = look(connection, schema, names).await?;
        if earlier.iter().all(|one| locked.contains(&one.known.id.number())) {
            return Ok(earlier);
        }
    }
}

/// Returns the first callback of the same kind with the receipt and another key, per delivery.
pub(super) async fn who_told(
    connection: &mut PgConnection,
    deliveries: &[&Delivery],
    open: &[usize],
    place: Place<'_>,
) -> sqlx::Result<HashMap<usize, CallbackId>> {
    let with_receipt = |at: &&usize| deliveries[**at].receipt.is_some() && !deliveries[**at].kind.is_payment();
    let asked: Vec<usize> = open.iter().filter(with_receipt).copied().collect();
    let all = || asked.iter().map(|at| deliveries[*at]);
    let kinds: Vec<&str> = all().map(|delivery| delivery.kind.name()).collect();
    let keys: Vec<_> = all().map(|delivery| text(delivery.key.as_str())).collect();
    let hidden_keys: Vec<_> = kinds.iter().zip(&keys).map(|(kind, key)| pseudonym(place.hmac_key, kind, key)).collect();
    let receipts: Vec<_> = all().map(|delivery| delivery.receipt.as_deref().map(text).unwrap_or_default()).collect();
    let hidden: Vec<_> = receipts.iter().map(|receipt| hidden_receipt(place.hmac_key, receipt)).collect();
    let told: Vec<(i64, i64)> = sqlx::query_as(place.schema.sql(
        "SELECT nth, min(id) FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
              AS asked (kind, key, hidden_key, receipt, hidden, nth)
         JOIN mpesa_callbacks.callback AS c ON c.kind = asked.kind AND c.receipt IN (asked.receipt, asked.hidden)
              AND c.key NOT IN (asked.key, asked.hidden_key)
         WHERE c.verdict IN (0, 5) AND (c.receipt = ANY($4) OR c.receipt = ANY($5)) GROUP BY nth",
    ))
    .bind(&kinds)
    .bind(&keys)
    .bind(&hidden_keys)
    .bind(&receipts)
    .bind(&hidden)
    .fetch_all(connection)
    .await?;
    let at = |nth: i64| asked.get(usize::try_from(nth - 1).ok()?).copied();
    Ok(told.into_iter().filter_map(|(nth, id)| Some((at(nth)?, CallbackId::from_stored(id)))).collect())
}

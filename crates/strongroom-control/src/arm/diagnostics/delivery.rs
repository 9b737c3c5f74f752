//! Delivery: for each setting and destination one worker, which follows a journal from a position that is on disk.
//!
//! Everything arrives at least once and in order. A worker holds one batch; while its sink does not take that, it waits longer
//! and longer and reads nothing more: what waits, waits in the journal.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use strongroom_azure::ResourceId;
use strongroom_journal::Journal;
use strongroom_seal::AccountId;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::records::{REQUESTS, Record, Source, Wanted};
use super::setting::{Destination, Setting, scope_of};
use super::sinks::{Courier, LogSink, LogSinks};
use super::{TYPE, type_of};
use crate::arm::fault::{Fault, Outcome};
use crate::arm::inventory::{Resource, Rows, Selection, key};
use crate::arm::{Arm, Shared};
use crate::limits::{DELIVERY_BACKOFF, DELIVERY_BATCH, DELIVERY_PASSED, DELIVERY_PAUSE};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS delivery (
  setting TEXT NOT NULL,
  destination TEXT NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (setting, destination)
) STRICT, WITHOUT ROWID;";

/// The journals that logs are in, and where they go.
pub(crate) struct LogSources {
    pub(crate) vault: Journal,
    pub(crate) service: Journal,
    pub(crate) sinks: LogSinks,
}

/// What delivers, and what it has to know of changes.
#[derive(Default)]
pub(crate) struct Deliveries {
    sources: OnceLock<LogSources>,
    changed: Notify,
    /// The accounts whose requests somebody wants to know of.
    watched: watch::Sender<Arc<HashSet<AccountId>>>,
}

impl Deliveries {
    /// Makes the table of positions, if there is none yet.
    pub(crate) fn prepare(rows: &Rows<'_>) -> Outcome<()> {
        Ok(rows.connection().execute_batch(TABLE)?)
    }

    /// Tells that settings changed.
    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Notes from where on a setting's logs are delivered: from now on for what is new, from where it was for what was there.
    pub(super) fn begin(&self, arm: &Shared, rows: &Rows<'_>, row: &Resource) -> Outcome<()> {
        let setting = key(&row.id);
        let wanted = Setting::of(row).destinations;
        let Some(journal) = self.journal_of(arm, &row.id) else {
            return Ok(());
        };
        let size = i64::try_from(journal.size()).unwrap_or(i64::MAX);
        let mut statement = rows.connection().prepare_cached(
            "INSERT OR IGNORE INTO delivery (setting, destination, position) VALUES (?1, ?2, ?3)",
        )?;
        for destination in &wanted {
            statement.execute(rusqlite::params![setting, name_of(destination), size])?;
        }
        // Destinations that were taken out begin anew when they come back.
        let known = positions(rows, &setting)?;
        for (destination, _) in known {
            if !wanted.iter().any(|wanted| name_of(wanted) == destination) {
                let sql = "DELETE FROM delivery WHERE setting = ?1 AND destination = ?2";
                rows.connection().execute(sql, [&setting, &destination])?;
            }
        }
        Ok(())
    }

    /// Forgets a setting that is gone.
    pub(super) fn end(rows: &Rows<'_>, setting: &ResourceId) -> Outcome<()> {
        let sql = "DELETE FROM delivery WHERE setting = ?1";
        rows.connection().execute(sql, [key(setting)])?;
        Ok(())
    }

    fn journal_of<'a>(&'a self, arm: &'a Shared, setting: &ResourceId) -> Option<&'a Journal> {
        let scope = scope_of(setting)?;
        let sources = self.sources.get()?;
        Some(match Source::of(&type_of(&scope))? {
            Source::Vault => &sources.vault,
            Source::Service => &sources.service,
            Source::Control => arm.activity.journal(),
        })
    }
}

/// A destination's name in the table: another id is another destination, which begins anew.
fn name_of(destination: &Destination) -> String {
    format!("{} {}", destination.property, destination.id.to_ascii_lowercase())
}

fn positions(rows: &Rows<'_>, setting: &str) -> Outcome<Vec<(String, u64)>> {
    let sql = "SELECT destination, position FROM delivery WHERE setting = ?1";
    let mut statement = rows.connection().prepare_cached(sql)?;
    let found = statement.query_map([setting], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    let found = found.map(|row| row.map(|(name, at)| (name, u64::try_from(at).unwrap_or(0))));
    Ok(found.collect::<Result<_, _>>()?)
}

/// What one worker does.
#[derive(Clone)]
struct Order {
    id: ResourceId,
    setting: String,
    destination: String,
    wanted: Arc<Wanted>,
    source: Source,
    journal: Journal,
    sink: LogSink,
    position: u64,
}

impl Order {
    /// Whether another order asks for the same, wherever it is.
    fn same(&self, other: &Self) -> bool {
        self.wanted.categories == other.wanted.categories && self.sink == other.sink
    }
}

/// What the journal has for a worker.
enum Next {
    /// Nothing yet.
    Nothing,
    /// Records, and where the next ones begin.
    Batch(Vec<Record>, u64),
    /// The setting is gone, with what it was on.
    Gone,
}

impl Arm {
    /// The accounts whose requests a diagnostic setting asks for: others need not be logged.
    pub fn watched_accounts(&self) -> watch::Receiver<Arc<HashSet<AccountId>>> {
        self.shared.deliveries.watched.subscribe()
    }

    /// Delivers logs as the diagnostic settings say, until it is dropped. `vault` and `service` are the journals of those two.
    pub async fn deliver_logs(self, vault: Journal, service: Journal, sinks: LogSinks) {
        let courier = match Courier::new() {
            Ok(courier) => courier,
            Err(error) => {
                tracing::error!(%error, "logs are not delivered: there is no client for endpoints");
                return;
            }
        };
        let sources = LogSources {
            vault,
            service,
            sinks,
        };
        let _ = self.shared.deliveries.sources.set(sources);
        let mut workers: HashMap<(String, String), (Order, Worker)> = HashMap::new();
        loop {
            match orders(&self.shared).await {
                Ok(orders) => {
                    self.shared.watch(&orders);
                    hire(&self.shared, &courier, &mut workers, orders);
                }
                Err(error) => tracing::error!(%error, "diagnostic settings could not be read"),
            }
            self.shared.deliveries.changed.notified().await;
        }
    }
}

impl Shared {
    fn watch(&self, orders: &[Order]) {
        let asks = orders
            .iter()
            .filter(|order| order.wanted.categories.contains(REQUESTS));
        let state = self.control.state();
        let named = |id: &ResourceId| {
            let mut all = state.accounts.list().into_iter();
            all.find(|account| account.scope().is_some_and(|scope| scope == *id))
        };
        let watched = asks.filter_map(|order| named(&order.wanted.scope));
        let watched = watched.map(|account| account.id).collect();
        self.deliveries.watched.send_replace(Arc::new(watched));
    }
}

/// Ends with its handle.
struct Worker(JoinHandle<()>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes the workers those that the orders need. One whose order stays the same goes on.
fn hire(
    arm: &Arc<Shared>,
    courier: &Courier,
    workers: &mut HashMap<(String, String), (Order, Worker)>,
    orders: Vec<Order>,
) {
    let name = |order: &Order| (order.setting.clone(), order.destination.clone());
    workers.retain(|known, (order, _)| {
        let mut orders = orders.iter();
        orders.any(|wanted| name(wanted) == *known && wanted.same(order))
    });
    for order in orders {
        workers.entry(name(&order)).or_insert_with(|| {
            let work = work(Arc::clone(arm), courier.clone(), order.clone());
            (order, Worker(tokio::spawn(work)))
        });
    }
}

/// Every setting and destination that there is something to deliver for.
async fn orders(arm: &Arc<Shared>) -> Outcome<Vec<Order>> {
    let arm = Arc::clone(arm);
    let read = move || {
        arm.inventory.write(|rows| {
            let selection = Selection {
                kind: Some(TYPE),
                ..Selection::default()
            };
            let mut orders = Vec::new();
            for row in rows.list(&selection, usize::MAX)? {
                // One that was made while nothing was delivered begins here.
                arm.deliveries.begin(&arm, rows, &row)?;
                orders.extend(orders_of(&arm, rows, &row)?);
            }
            Ok(orders)
        })
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| Fault::Interrupted)?
}

fn orders_of(arm: &Shared, rows: &Rows<'_>, row: &Resource) -> Outcome<Vec<Order>> {
    let parts = scope_of(&row.id).and_then(|scope| {
        let source = Source::of(&type_of(&scope))?;
        let journal = arm.deliveries.journal_of(arm, &row.id)?.clone();
        Some((scope, source, journal, arm.deliveries.sources.get()?))
    });
    let Some((scope, source, journal, sources)) = parts else {
        return Ok(Vec::new());
    };
    let setting = key(&row.id);
    let positions = positions(rows, &setting)?;
    let asked = Setting::of(row);
    let wanted = Arc::new(Wanted {
        scope,
        categories: asked.categories,
    });
    let order = |destination: &Destination| {
        let name = name_of(destination);
        let position = positions.iter().find(|(known, _)| *known == name)?.1;
        Some(Order {
            id: row.id.clone(),
            setting: setting.clone(),
            destination: name,
            wanted: Arc::clone(&wanted),
            source,
            journal: journal.clone(),
            sink: sources.sinks.of(destination),
            position,
        })
    };
    Ok(asked.destinations.iter().filter_map(order).collect())
}

/// Follows the journal for one destination.
async fn work(arm: Arc<Shared>, courier: Courier, mut order: Order) {
    let mut kept = order.position;
    loop {
        let (records, next) = match next(&arm, &order).await {
            Ok(Next::Batch(records, next)) => (records, next),
            Ok(Next::Nothing) => {
                tokio::time::sleep(DELIVERY_PAUSE).await;
                continue;
            }
            Ok(Next::Gone) => return,
            Err(error) => {
                tracing::error!(%error, setting = order.setting, "logs could not be read for delivery");
                tokio::time::sleep(DELIVERY_BACKOFF.1).await;
                continue;
            }
        };
        bring(&courier, &order, &records).await;
        order.position = next;
        // What is not for this one costs no disk; after a stop it is passed over again.
        if records.is_empty() && next.abs_diff(kept) < DELIVERY_PASSED {
            continue;
        }
        match remember(&arm, &order).await {
            Ok(()) => kept = next,
            // What was delivered is delivered again after a stop.
            Err(error) => {
                tracing::error!(%error, setting = order.setting, "the position of a delivery was not kept");
            }
        }
    }
}

/// Tries until the sink has taken the records.
async fn bring(courier: &Courier, order: &Order, records: &[Record]) {
    let (mut pause, most): (Duration, Duration) = DELIVERY_BACKOFF;
    while !records.is_empty() {
        match courier
            .deliver(&order.sink, &order.wanted.scope, records.to_vec())
            .await
        {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, setting = order.setting, destination = order.destination, ?pause, "logs were not delivered; they are tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(most);
            }
        }
    }
}

/// What comes next in the journal.
async fn next(arm: &Arc<Shared>, order: &Order) -> Outcome<Next> {
    let (arm, order) = (Arc::clone(arm), order.clone());
    let read = move || {
        let size = order.journal.size();
        // A journal that was begun anew is followed from its beginning.
        let from = if order.position > size { 0 } else { order.position };
        if from == size {
            return Ok(Next::Nothing);
        }
        if !arm.inventory.read(|rows| rows.has(&order.id))? {
            return Ok(Next::Gone);
        }
        let next = size.min(from.saturating_add(DELIVERY_BATCH));
        let entries = order.journal.read(from, next)?;
        let records = entries
            .iter()
            .filter_map(|entry| order.wanted.record(order.source, entry, &arm.control));
        Ok(Next::Batch(records.collect(), next))
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| Fault::Interrupted)?
}

async fn remember(arm: &Arc<Shared>, order: &Order) -> Outcome<()> {
    let (arm, order) = (Arc::clone(arm), order.clone());
    let write = move || {
        let position = i64::try_from(order.position).unwrap_or(i64::MAX);
        arm.inventory.write(|rows| {
            // A setting that is gone stays forgotten.
            let sql = "UPDATE delivery SET position = ?3 WHERE setting = ?1 AND destination = ?2";
            let values = rusqlite::params![order.setting, order.destination, position];
            rows.connection().execute(sql, values)?;
            Ok(())
        })
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(|_| Fault::Interrupted)?
}

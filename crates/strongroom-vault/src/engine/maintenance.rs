//! What falls due by itself: deleted keys and vaults are destroyed, rotation policies carried out, notices of expiry given.

use tokio::sync::futures::Notified;

use crate::engine::fault::VaultFault;
use crate::engine::policy::{self, Due, Told};
use crate::engine::settings::KeyVersion;
use crate::engine::{Inner, KeyPath, VaultEngine, rows};
use crate::limits::MAINTENANCE_BATCH;

/// What maintenance has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// The key's policy made this version.
    Rotated,
    /// The key's latest version is about to expire.
    NearExpiry,
    /// The key's latest version has expired.
    Expired,
}

/// Something happened to a key that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub kind: NoticeKind,
    /// The vault.
    pub vault: String,
    /// The version it is about.
    pub key: KeyVersion,
    /// The version's row.
    row: i64,
}

/// What one round of maintenance did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Deleted keys and vaults that were destroyed.
    pub destroyed: usize,
    /// What is to be told. Notices of expiry come once; that of a rotation comes again until [`VaultEngine::told`] is called.
    pub notices: Vec<Notice>,
    /// When the next round is due, in Unix seconds.
    pub next: Option<u64>,
    /// Whether something could not be done; it is tried again in the next round.
    pub failed: bool,
}

impl VaultEngine {
    /// Does what is due, and nothing twice: what was done is on disk before this returns, and found there by the next round,
    /// also after a crash.
    pub async fn maintain(&self) -> Result<Maintained, VaultFault> {
        let mut done = Maintained::default();
        let (purge_is_due, due) = self.work(Inner::look).await?;
        if purge_is_due {
            done.destroyed = self.work(Inner::sweep).await?;
        }
        for key in due {
            let attended = self.attend(key.clone()).await;
            match attended {
                Ok(notices) => done.notices.extend(notices),
                Err(fault) => {
                    tracing::error!(%fault, vault = key.vault, key = key.name, "what is due for a key was not done");
                    done.failed = true;
                }
            }
        }
        let (next, untold) = self
            .work(|inner| {
                inner.database.read(|view| {
                    let (due, purge) = rows::next_due(view)?;
                    let next = due.into_iter().chain(purge).min();
                    Ok((next, rows::untold_rotations(view, MAINTENANCE_BATCH)?))
                })
            })
            .await?;
        done.next = next;
        let rotated = |(vault, key, row)| Notice {
            kind: NoticeKind::Rotated,
            vault,
            key,
            row,
        };
        done.notices.extend(untold.into_iter().map(rotated));
        Ok(done)
    }

    /// A notice is on record: it does not come again.
    pub async fn told(&self, notice: &Notice) -> Result<(), VaultFault> {
        if notice.kind != NoticeKind::Rotated {
            return Ok(());
        }
        let row = notice.row;
        self.work(move |inner| {
            inner
                .database
                .write(|transaction| rows::set_rotation_told(transaction, row))
        })
        .await
    }

    /// Resolves when something changed that may make a round due.
    pub(crate) fn stirred(&self) -> Notified<'_> {
        self.inner.stirred.notified()
    }

    async fn attend(&self, key: KeyPath) -> Result<Vec<Notice>, VaultFault> {
        let path = key.clone();
        let (notices, rotate) = self.work(move |inner| inner.tell(&path)).await?;
        if rotate {
            self.generate(move |inner| inner.rotate_if_due(&key)).await?;
        }
        Ok(notices)
    }
}

impl Inner {
    /// Whether deleted keys or vaults are to be destroyed, and which keys are due.
    fn look(&self) -> Result<(bool, Vec<KeyPath>), VaultFault> {
        let now = self.now();
        self.database.read(|view| {
            let (_, purge) = rows::next_due(view)?;
            let due = rows::due_keys(view, now, MAINTENANCE_BATCH)?;
            let due = due.iter().map(|(vault, name)| KeyPath::new(vault, name, None));
            Ok((purge.is_some_and(|at| at <= now), due.collect()))
        })
    }

    /// Marks the notices that are due as given, and says whether a rotation is due. A crash after this loses a notice rather
    /// than giving it twice.
    fn tell(&self, key: &KeyPath) -> Result<(Vec<Notice>, bool), VaultFault> {
        let now = self.now();
        self.database.write(|transaction| {
            let id = key.live(transaction, now)?.id;
            let (latest, row) = rows::version(transaction, id, None)?.ok_or_else(|| key.not_found())?;
            let told = rows::told(transaction, row)?;
            let due: Vec<Due> = policy::due(&rows::policy(transaction, id)?, &latest, told)
                .filter(|(at, _)| *at <= now)
                .map(|(_, due)| due)
                .collect();
            let rotate = due.contains(&Due::Rotate);
            let (kind, told) = if due.contains(&Due::TellExpired) {
                let expired = latest.expires;
                (NoticeKind::Expired, Told { expired, ..told })
            } else if due.contains(&Due::TellNear) {
                let near = latest.expires;
                (NoticeKind::NearExpiry, Told { near, ..told })
            } else {
                self.reschedule(transaction, id)?;
                return Ok((Vec::new(), rotate));
            };
            rows::set_told(transaction, row, told)?;
            self.reschedule(transaction, id)?;
            let notice = Notice {
                kind,
                vault: key.vault.clone(),
                key: latest,
                row,
            };
            Ok((vec![notice], rotate))
        })
    }

    /// Makes the version that a policy asks for. Whether it still does is asked again where the version is written: one that
    /// was made meanwhile, by this or by somebody's request, moved the moment.
    fn rotate_if_due(&self, key: &KeyPath) -> Result<(), VaultFault> {
        let due =
            |view: &rusqlite::Connection, id| -> Result<Option<(KeyVersion, Option<u64>)>, VaultFault> {
                let policy = rows::policy(view, id)?;
                let latest = rows::version(view, id, None)?.map(|(latest, _)| latest);
                let now = self.now();
                let latest = latest.filter(|latest| policy.rotation_due(latest).is_some_and(|at| at <= now));
                Ok(latest.map(|latest| (latest, policy.expiry_of(now))))
            };
        let find = |view: &rusqlite::Connection| match key.room(view, self.now()) {
            Ok(row) => Ok(row.map(|row| row.id)),
            Err(VaultFault::NameHeld(_)) => Ok(None),
            Err(fault) => Err(fault),
        };
        let found = self.database.read(|view| match find(view)? {
            Some(id) => due(view, id),
            None => Ok(None),
        })?;
        let Some((latest, _)) = found else {
            return Ok(());
        };
        let made = self.backend.generate(latest.spec)?;
        let (mut version, kept) = self.seal_version(key, latest.successor(), made)?;
        let written = self.database.write(|transaction| {
            let Some(id) = find(transaction)? else {
                return Ok(None);
            };
            let Some((still, expires)) =
                due(transaction, id)?.filter(|(still, _)| still.version == latest.version)
            else {
                return Ok(None);
            };
            version.name = still.name;
            version.expires = expires;
            rows::insert_version(transaction, id, &version, &kept, false)?;
            self.reschedule(transaction, id)?;
            Ok(Some(version))
        })?;
        if let Some(version) = written {
            self.announce(&key.vault, &version.name, Some(&version.version));
        }
        Ok(())
    }
}

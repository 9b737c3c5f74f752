//! Fine-tuned models: a sealed record, and the weights as a sealed blob beside it.
//!
//! The store knows a model by the last part of its name alone; the name itself, which holds the customer's suffix, is sealed.

mod import;
mod name;
mod served;

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use strongroom_models::{ModelSource, WeightsCheck, WeightsError};
use strongroom_store::{
    AccountId, Action, BlobWriter, Meta, NewObject, Object, Order, Page, Permit, PermitAuthority, Store,
    StoreError,
};
use zeroize::Zeroizing;

use crate::ids;
use crate::problem::Problem;
use crate::service::shown;

pub(crate) use import::{check_suffix, import};
pub use name::TunedName;
pub use served::{TunedDeployment, TunedParts};

/// The models that may be fine-tuned, by name: those whose configuration and tokenizer are at hand.
pub type Bases = HashMap<String, ModelSource>;

/// The kind under which fine-tuned models are stored.
pub(crate) const KIND: &str = "fine_tuned_model";
/// The part that holds the weights.
pub(crate) const WEIGHTS: u32 = 0;

/// A fine-tuned model, without its weights.
pub(crate) struct FineTunedModel {
    /// What is sealed of it.
    pub(crate) record: ModelRecord,
    /// When it was stored, in seconds since the Unix epoch.
    pub(crate) created: u64,
    /// How long its weights are.
    pub(crate) bytes: u64,
}

/// What is sealed beside the weights.
#[derive(Serialize, Deserialize)]
pub(crate) struct ModelRecord {
    /// See [`TunedName`].
    pub(crate) name: String,
    /// The model whose configuration and tokenizer it has.
    pub(crate) base: String,
    /// Whose it is: the account's name when it was made.
    pub(crate) owner: String,
    /// The job that made it; none, if it was brought.
    pub(crate) job: Option<String>,
    pub(crate) format: Format,
}

/// What the weights are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// All tensors of the model, in one file of the safetensors format.
    Safetensors,
}

/// What a new model is called after.
pub(crate) struct NewModel<'a> {
    pub(crate) base: &'a str,
    /// The account's name.
    pub(crate) owner: &'a str,
    pub(crate) suffix: Option<&'a str>,
    /// The step whose checkpoint this is.
    pub(crate) step: Option<u64>,
    pub(crate) job: Option<&'a str>,
}

impl NewModel<'_> {
    /// The name that it has under this id.
    pub(crate) fn name(&self, id: &str) -> String {
        TunedName::make(self, id)
    }
}

/// Why a model was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelFault {
    /// What was given are no weights; give others.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The store did not take it, or not now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ModelFault> for Problem {
    fn from(fault: ModelFault) -> Self {
        match fault {
            ModelFault::Weights(error) => Self::coded("invalid_weights", "file", format!("{error}.")),
            ModelFault::Store(error) => error.into(),
        }
    }
}

/// Takes a model's weights in pieces: checks them, and seals them as they come. Dropping it removes what was written.
pub(crate) struct ModelWriter {
    id: String,
    check: WeightsCheck,
    blob: BlobWriter,
}

impl ModelWriter {
    /// Begins a model under an id of [`new_id`]. Whoever does so again after a crash gives the same id again: of two that finish, the
    /// second hears `AlreadyExists`.
    pub(crate) async fn begin(store: &Store, permit: &Permit, id: String) -> Result<Self, StoreError> {
        let blob = store.stage(permit, KIND, &id, WEIGHTS).await?;
        Ok(Self {
            id,
            check: WeightsCheck::default(),
            blob,
        })
    }

    /// Takes the next piece. After an error only dropping is left.
    pub(crate) async fn write(&mut self, piece: Bytes) -> Result<(), ModelFault> {
        self.check.push(&piece)?;
        Ok(self.blob.write(piece).await?)
    }

    /// How much was taken so far.
    pub(crate) fn len(&self) -> u64 {
        self.blob.len()
    }

    /// Ends the weights: they are whole and durable, and wait for their record.
    pub(crate) async fn finish(self) -> Result<StagedModel, ModelFault> {
        self.check.finish()?;
        Ok(StagedModel {
            id: self.id,
            blob: self.blob.finish().await?,
        })
    }
}

/// Sealed weights that wait for their record. Dropping it removes them.
pub(crate) struct StagedModel {
    id: String,
    blob: strongroom_store::StagedBlob,
}

impl StagedModel {
    /// Stores the model, durably.
    pub(crate) async fn put(
        self,
        store: &Store,
        permit: &Permit,
        new: &NewModel<'_>,
    ) -> Result<FineTunedModel, StoreError> {
        let record = ModelRecord {
            name: TunedName::make(new, &self.id),
            base: new.base.to_owned(),
            owner: new.owner.to_owned(),
            job: new.job.map(str::to_owned),
            format: Format::Safetensors,
        };
        // Only strings and an enum: it always can be written.
        let body = Zeroizing::new(serde_json::to_vec(&record).unwrap_or_default());
        let object = NewObject {
            blobs: vec![self.blob],
            ..NewObject::new(KIND, self.id, &body)
        };
        let meta = store.put(permit, object).await?;
        Ok(FineTunedModel::of(&meta, record))
    }
}

/// An id for a new model.
pub(crate) fn new_id() -> String {
    ids::fine_tuned()
}

/// The model of this name. One whose name is another's in any part is not there.
pub(crate) async fn find(store: &Store, permit: &Permit, name: &str) -> Result<FineTunedModel, StoreError> {
    let id = TunedName::parse(name).ok_or(StoreError::NotFound)?.id;
    let model = FineTunedModel::read(&store.get(permit, KIND, id).await?)?;
    if model.record.name == name {
        Ok(model)
    } else {
        Err(StoreError::NotFound)
    }
}

/// All of the account's, newest first.
pub(crate) async fn all(store: &Store, permit: &Permit) -> Result<Vec<FineTunedModel>, StoreError> {
    let mut models = Vec::new();
    let mut after = None;
    loop {
        let page = Page {
            after: after.take(),
            limit: Page::MAX,
            order: Order::Desc,
        };
        let listing = match store.list(permit, KIND, page).await {
            // What the last page ended with was deleted since: nobody can say what follows it, so it is asked from the beginning.
            Err(StoreError::NotFound) if !models.is_empty() => {
                models.clear();
                continue;
            }
            other => other?,
        };
        for object in &listing.objects {
            models.push(FineTunedModel::read(object)?);
        }
        match listing.objects.last() {
            Some(last) if listing.has_more => after = Some(last.meta.id.clone()),
            _ => return Ok(models),
        }
    }
}

/// What there is of an account's fine-tuned models, for who deploys them: names, and whose they are.
pub async fn tuned_models(
    store: &Store,
    permits: &PermitAuthority,
    account: AccountId,
) -> Result<Vec<(String, String)>, StoreError> {
    let permit = permits.permit(account, Action::Read, "control plane");
    let models = all(store, &permit).await?.into_iter();
    Ok(models
        .map(|model| (model.record.name, model.record.owner))
        .collect())
}

/// What a caller hears who named a model that is not there, or that cannot be had.
pub(crate) fn problem(error: StoreError, name: &str) -> Problem {
    match error {
        StoreError::NotFound | StoreError::BadName => Problem::UnknownModel { name: shown(name) },
        other => other.into(),
    }
}

impl FineTunedModel {
    /// Deletes it: its keys are destroyed with it.
    pub(crate) async fn delete(&self, store: &Store, permit: &Permit) -> Result<(), StoreError> {
        let name = TunedName::parse(&self.record.name).ok_or(StoreError::NotFound)?;
        store.delete(permit, KIND, name.id).await
    }

    fn of(meta: &Meta, record: ModelRecord) -> Self {
        Self {
            record,
            created: meta.created(),
            bytes: meta.size_of(WEIGHTS).unwrap_or(0),
        }
    }

    fn read(object: &Object) -> Result<Self, StoreError> {
        let record = serde_json::from_slice(&object.body)
            .map_err(|_| StoreError::Corrupt(strongroom_store::Corruption::Format))?;
        Ok(Self::of(&object.meta, record))
    }
}

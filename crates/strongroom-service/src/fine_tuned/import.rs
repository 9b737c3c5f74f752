//! Weights that were trained elsewhere come in: a form with a file, as for files, straight into the sealer.

use super::name::is_suffix;
use super::{ModelWriter, NewModel, StagedModel, new_id};
use crate::arriving::Arriving;
use crate::call::{Answer, Call};
use crate::fields;
use crate::files::{set, twice};
use crate::limits;
use crate::models;
use crate::multipart::Multipart;
use crate::problem::Problem;
use crate::service::shown;

/// What the form brought so far.
#[derive(Default)]
struct Form {
    base: Option<String>,
    suffix: Option<String>,
    weights: Option<StagedModel>,
}

/// `POST models`: ours, as OpenAI has no way to bring a model.
pub(crate) async fn import(call: Call) -> Result<Answer, Problem> {
    let boundary = call.boundary()?;
    call.body.check_announced()?;
    let _slot = call.service.transfer_slot(call.body.announced()).await?;
    let Call {
        service,
        caller,
        permits,
        body,
        form: shape,
        ..
    } = call;
    let intake = Intake {
        store: &service.store,
        permit: permits.write()?,
        limit: service.limits.weight_bytes,
    };
    let form = intake.take(Multipart::new(body, &boundary)).await?;
    let base = form.base.ok_or_else(|| fields::missing("base_model"))?;
    if !service.bases.contains_key(&base) {
        let message = format!(
            "Invalid 'base_model': no model '{}' is at hand here.",
            shown(&base)
        );
        return Err(Problem::invalid("base_model", message));
    }
    let new = NewModel {
        base: &base,
        owner: &caller.account_name,
        suffix: form.suffix.as_deref(),
        step: None,
        job: None,
    };
    let weights = form.weights.ok_or_else(|| fields::missing("file"))?;
    let model = weights.put(&service.store, permits.write()?, &new).await?;
    Answer::json(&models::tuned_card(&model, shape))
}

/// Where the weights go.
struct Intake<'a> {
    store: &'a strongroom_store::Store,
    permit: &'a strongroom_store::Permit,
    limit: u64,
}

impl Intake<'_> {
    /// Takes the parts in whatever order they come.
    async fn take(&self, mut parts: Multipart<Arriving>) -> Result<Form, Problem> {
        let mut form = Form::default();
        while let Some(head) = parts.next_part().await? {
            match head.name.as_str() {
                "file" if form.weights.is_some() => return Err(twice("file")),
                "file" => form.weights = Some(self.take_weights(&mut parts).await?),
                "base_model" => set(&mut form.base, "base_model", &mut parts).await?,
                "suffix" => set(&mut form.suffix, "suffix", &mut parts).await?,
                _ => {
                    return Err(Problem::coded(
                        "unknown_parameter",
                        "form",
                        "The form has a field that is not known here: file, base_model and suffix are.",
                    ));
                }
            }
        }
        check_suffix(form.suffix.as_deref())?;
        Ok(form)
    }

    async fn take_weights(&self, parts: &mut Multipart<Arriving>) -> Result<StagedModel, Problem> {
        let mut writer = ModelWriter::begin(self.store, self.permit, new_id()).await?;
        while let Some(piece) = parts.next_piece().await? {
            writer.write(piece).await?;
            if writer.len() > self.limit {
                return Err(Problem::TooLarge {
                    what: "The file",
                    limit: self.limit,
                });
            }
        }
        Ok(writer.finish().await?)
    }
}

/// A suffix that a caller wants in a model's name.
pub(crate) fn check_suffix(suffix: Option<&str>) -> Result<(), Problem> {
    if suffix.is_none_or(is_suffix) {
        return Ok(());
    }
    let message = format!(
        "Invalid 'suffix': it must have 1 to {} letters, digits, '-', '_' or '.'.",
        limits::SUFFIX_BYTES
    );
    Err(Problem::invalid("suffix", message))
}

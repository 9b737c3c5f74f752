//! The engines of an instance: the rehearsal model always, and what the settings add.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strongroom_control::Deployment;
use strongroom_models::{
    ApiKey, BaseModel, BuiltIn, BuiltInConfig, BuiltInTrainer, CommandConfig, CommandTrainer, Engine,
    ModelSource, NotCaged, REHEARSAL_MODEL, Trainer, TrainerProgram, Upstream, UpstreamConfig,
    UpstreamConfigError,
};
use strongroom_seal::AccountId;
use strongroom_service::{Bases, Deployments, TunedDeployment, TunedName, TunedParts};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::compose::{self, Engines};
use crate::config::{Model, Settings};
use crate::folder::FolderError;
use crate::limits;

/// Why a model cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The key file of the upstream cannot be read.
    #[error(transparent)]
    KeyFile(#[from] FolderError),
    /// The upstream cannot be reached as configured.
    #[error(transparent)]
    Upstream(#[from] UpstreamConfigError),
    /// The trainer cannot be confined here; --insecure-trainer runs it all the same.
    #[error("{0}; --insecure-trainer runs it all the same")]
    Trainer(#[from] NotCaged),
}

/// The engines at the start.
pub(crate) struct AtStart {
    pub(crate) engines: Engines,
    /// The models to deploy under their own names, the one to recommend first.
    pub(crate) models: Vec<String>,
    /// The models whose files are at hand, so that they can be fine-tuned.
    pub(crate) bases: Bases,
    /// What trains them.
    pub(crate) trainers: Vec<Arc<dyn Trainer>>,
    /// A model server that did not list its models yet.
    pub(crate) silent: Option<Arc<Upstream>>,
}

/// Sets the engines up; nothing heavy is loaded before its first request.
pub(crate) async fn at_start(settings: &Settings) -> Result<AtStart, ModelError> {
    let mut at_start = AtStart {
        engines: Engines::new(),
        models: Vec::new(),
        bases: Bases::new(),
        trainers: Vec::new(),
        silent: None,
    };
    match &settings.model {
        Model::RehearsalOnly => {}
        Model::Folder(folder) => at_start.add_base(settings, ModelSource::Folder(folder.clone())),
        Model::Upstream { url, key_file } => {
            let mut config = UpstreamConfig::new(url.clone());
            if let Some(path) = key_file {
                let text = std::fs::read_to_string(path).map_err(|cause| FolderError::at(path, cause))?;
                config.api_key = Some(ApiKey::new(Zeroizing::new(text)));
            }
            let upstream = Arc::new(Upstream::new(config)?);
            match tokio::time::timeout(limits::UPSTREAM_ANSWER, upstream.refresh_models()).await {
                Ok(Ok(_)) => at_start.add(upstream),
                _ => at_start.silent = Some(upstream),
            }
        }
    }
    at_start.add_base(settings, ModelSource::Rehearsal);
    at_start.trainers.push(trainer(settings, &at_start.bases).await?);
    Ok(at_start)
}

/// What trains the models at hand: the program that the settings name, or this one.
async fn trainer(settings: &Settings, bases: &Bases) -> Result<Arc<dyn Trainer>, NotCaged> {
    let mut models: Vec<BaseModel> = bases
        .iter()
        .map(|(name, source)| BaseModel {
            name: name.clone(),
            source: source.clone(),
        })
        .collect();
    models.sort_by(|one, other| one.name.cmp(&other.name));
    let own = TrainerProgram {
        program: settings.worker_program.clone(),
        arguments: vec!["trainer".into()],
    };
    let Some(asked) = &settings.trainer else {
        return Ok(Arc::new(BuiltInTrainer::new(models, own)));
    };
    let config = CommandConfig {
        // The vault's root key is there, and nothing that a trainer needs.
        hidden: vec![settings.folder.root().to_owned()],
        network: asked.network,
        insecure: asked.insecure,
        silence: asked.silence,
        ..CommandConfig::new(asked.command.clone(), models, own)
    };
    if asked.insecure {
        tracing::warn!("the trainer runs without a cage: it may leave plaintext on disks");
    }
    Ok(Arc::new(CommandTrainer::new(config).await?))
}

impl AtStart {
    fn add_base(&mut self, settings: &Settings, source: ModelSource) {
        let engine = built_in(settings, source.clone());
        let names = engine.models().into_iter().map(|card| (card.id, source.clone()));
        self.bases.extend(names);
        self.add(engine);
    }

    fn add(&mut self, engine: Arc<dyn Engine>) {
        for card in engine.models() {
            self.models.push(card.id.clone());
            self.engines.insert(card.id, Arc::clone(&engine));
        }
    }
}

/// Asks a silent model server until it lists its models, and adds them. `deploy` makes their deployments.
pub(crate) async fn ask_again(
    upstream: Arc<Upstream>,
    engines: watch::Sender<Arc<Engines>>,
    deploy: impl Fn(&str),
) {
    tracing::warn!("the upstream model server does not list its models yet; it is asked again");
    let models = loop {
        tokio::time::sleep(limits::UPSTREAM_RETRY).await;
        if let Ok(models) = upstream.refresh_models().await {
            break models;
        }
    };
    engines.send_modify(|engines| {
        let mut all = engines.as_ref().clone();
        for card in &models {
            all.insert(card.id.clone(), Arc::<Upstream>::clone(&upstream));
        }
        *engines = Arc::new(all);
    });
    models.iter().for_each(|card| deploy(&card.id));
    tracing::info!("the upstream model server has listed its models");
}

fn built_in(settings: &Settings, model: ModelSource) -> Arc<dyn Engine> {
    Arc::new(BuiltIn::spawn(worker(settings.worker_program.clone(), model)))
}

fn worker(worker_program: PathBuf, model: ModelSource) -> BuiltInConfig {
    BuiltInConfig {
        model,
        worker_program,
        worker_args: vec!["worker".into()],
    }
}

/// The deployments of fine-tuned models. Each has an engine of its own, which stays the same for as long as it stands for the same model.
pub(crate) struct TunedModels {
    parts: TunedParts,
    bases: Bases,
    worker_program: PathBuf,
    /// By account and deployment; each with its model.
    all: HashMap<(AccountId, String), (String, TunedDeployment)>,
    /// Those that are not deployed any more, and are still to be ended.
    replaced: Vec<TunedDeployment>,
}

impl TunedModels {
    pub(crate) fn new(parts: TunedParts, bases: Bases, settings: &Settings) -> Self {
        Self {
            parts,
            bases,
            worker_program: settings.worker_program.clone(),
            all: HashMap::new(),
            replaced: Vec::new(),
        }
    }

    /// The engine of a deployment; `None`, if its model is no fine-tuned one, or one whose base is not at hand.
    pub(crate) fn of(
        &mut self,
        account: AccountId,
        name: &str,
        deployment: &Deployment,
    ) -> Option<TunedDeployment> {
        let policy = compose::policy(deployment.revocation);
        let place = (account, name.to_owned());
        if let Some((model, known)) = self.all.get(&place)
            && *model == deployment.model
        {
            known.follow(policy);
            return Some(known.clone());
        }
        if let Some((_, other)) = self.all.remove(&place) {
            self.replaced.push(other);
        }
        let base = self.bases.get(TunedName::parse(&deployment.model)?.base)?;
        let made = TunedDeployment::new(
            self.parts.clone(),
            worker(self.worker_program.clone(), base.clone()),
            account,
            name,
            &deployment.model,
            (deployment.created, policy),
        )?;
        self.all.insert(place, (deployment.model.clone(), made.clone()));
        Some(made)
    }

    /// Lets go of those that are not deployed any more; [`Self::end_replaced`] ends them.
    pub(crate) fn keep_only(&mut self, deployed: &Deployments) {
        let Self { all, replaced, .. } = self;
        all.retain(|(account, name), (_, known)| {
            let stays = deployed
                .get(*account, name)
                .is_some_and(|deployment| deployment.tuned.is_some());
            if !stays {
                replaced.push(known.clone());
            }
            stays
        });
    }

    /// Ends those that are not deployed any more. To be called when the table without them is published, so that no new request finds
    /// an engine that is ended.
    pub(crate) fn end_replaced(&mut self) {
        for deployment in self.replaced.drain(..) {
            // Before the stop: a request that found it earlier would start another worker after it.
            deployment.close();
            tokio::spawn(async move { deployment.stop().await });
        }
    }
}

/// What clients are told to ask for if nothing else is deployed.
pub(crate) const FALLBACK: &str = REHEARSAL_MODEL;

/// Ends the workers.
pub(crate) async fn stop(engines: &Engines, deployments: &Deployments) {
    let tuned = deployments.tuned().map(|(_, _, deployment)| &deployment.engine);
    let ended = futures::future::join_all(engines.values().chain(tuned).map(|engine| engine.stop()));
    // A worker that does not end by itself ends with this process.
    let _ = tokio::time::timeout(Duration::from_secs(5), ended).await;
}

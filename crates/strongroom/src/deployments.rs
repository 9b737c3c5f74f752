//! The engines of an instance: the rehearsal model always, and what the settings add.

use std::sync::Arc;
use std::time::Duration;

use strongroom_models::{
    ApiKey, BuiltIn, BuiltInConfig, Engine, ModelSource, REHEARSAL_MODEL, Upstream, UpstreamConfig,
    UpstreamConfigError,
};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::compose::Engines;
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
}

/// The engines at the start.
pub(crate) struct AtStart {
    pub(crate) engines: Engines,
    /// The models to deploy under their own names, the one to recommend first.
    pub(crate) models: Vec<String>,
    /// A model server that did not list its models yet.
    pub(crate) silent: Option<Arc<Upstream>>,
}

/// Sets the engines up; nothing heavy is loaded before its first request.
pub(crate) async fn at_start(settings: &Settings) -> Result<AtStart, ModelError> {
    let mut at_start = AtStart {
        engines: Engines::new(),
        models: Vec::new(),
        silent: None,
    };
    match &settings.model {
        Model::RehearsalOnly => {}
        Model::Folder(folder) => at_start.add(built_in(settings, ModelSource::Folder(folder.clone()))),
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
    at_start.add(built_in(settings, ModelSource::Rehearsal));
    Ok(at_start)
}

impl AtStart {
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
    Arc::new(BuiltIn::spawn(BuiltInConfig {
        model,
        worker_program: settings.worker_program.clone(),
        worker_args: vec!["worker".into()],
    }))
}

/// What clients are told to ask for if nothing else is deployed.
pub(crate) const FALLBACK: &str = REHEARSAL_MODEL;

/// Ends the workers.
pub(crate) async fn stop(engines: &Engines) {
    let ended = futures::future::join_all(engines.values().map(|engine| engine.stop()));
    // A worker that does not end by itself ends with this process.
    let _ = tokio::time::timeout(Duration::from_secs(5), ended).await;
}

//! Which cloud is asked, and in whose name.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use strongroom_operator::ask::{Asker, Bounds};
use strongroom_operator::cloud::{Cloud, Connections, Credential, CredentialKind, Variables};
use tokio::runtime::Runtime;
use url::Url;

use crate::cli::{CliError, Failure};
use crate::clock::SystemClock;
use crate::env::{Environment, EnvironmentError};
use crate::folder::{DataFolder, FolderError};

/// Where an environment says that Resource Manager is, as Azure's own tools read it.
const ARM_ENDPOINT: &str = "ARM_ENDPOINT";

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CloudArgs {
    /// The cloud. Without it, what the environment's ARM_ENDPOINT describes (so in `strongroom shell`), else the public one.
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "cloud_file")]
    cloud: Option<CloudName>,
    /// A cloud of one's own: a JSON file as `/metadata/endpoints` of its Resource Manager gives it.
    #[arg(long, value_name = "FILE")]
    cloud_file: Option<PathBuf>,
    /// Strongroom on this machine: its data folder, unless a cloud is named. In `strongroom shell` this is not needed.
    #[arg(long, value_name = "DIR", env = "STRONGROOM_DATA")]
    data: Option<PathBuf>,
    /// How to prove who asks. Without it, what the environment offers: a client's secret or certificate, a federated token, a
    /// managed identity; else whoever is logged in with `az`.
    #[arg(long, value_enum, value_name = "KIND")]
    credential: Option<CredentialName>,
    /// A subscription to ask about, as a GUID; may be given again. Without it, AZURE_SUBSCRIPTION_ID, else all that are seen.
    #[arg(long, value_name = "GUID")]
    subscription: Vec<uuid::Uuid>,
    /// Calls in flight at once: 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    calls_in_flight: u16,
}

/// The clouds that are known by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum CloudName {
    /// The public cloud.
    Public,
    /// The US government's.
    UsGovernment,
    /// The one in China.
    China,
}

impl CloudName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::UsGovernment => "us-government",
            Self::China => "china",
        }
    }
}

/// The ways to prove who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum CredentialName {
    /// AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET.
    ClientSecret,
    /// The same with AZURE_CLIENT_CERTIFICATE_PATH: a PEM file with certificate and RSA key.
    ClientCertificate,
    /// The same with AZURE_FEDERATED_TOKEN_FILE.
    WorkloadIdentity,
    /// The identity of the machine or service that this runs on.
    ManagedIdentity,
    /// Whoever is logged in with `az`.
    Az,
}

impl From<CredentialName> for CredentialKind {
    fn from(name: CredentialName) -> Self {
        match name {
            CredentialName::ClientSecret => Self::ClientSecret,
            CredentialName::ClientCertificate => Self::ClientCertificate,
            CredentialName::WorkloadIdentity => Self::WorkloadIdentity,
            CredentialName::ManagedIdentity => Self::ManagedIdentity,
            CredentialName::Az => Self::AzCli,
        }
    }
}

/// A cloud that can be asked.
pub(in crate::cli) struct Connected {
    pub(in crate::cli) asker: Asker,
    pub(in crate::cli) runtime: Runtime,
    pub(in crate::cli) subscriptions: Vec<String>,
    /// The local instance's folder, if it is one.
    pub(in crate::cli) local: Option<DataFolder>,
}

impl CloudArgs {
    /// Finds the cloud and proves who asks.
    pub(in crate::cli) fn connect(&self) -> Result<Connected, CliError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(CliError::io("a runtime for the connection"))?;
        let place = self.place()?;
        let variables = &place.variables;
        let connections = &place.connections;
        let asker = runtime.block_on(async {
            let cloud = match &place.cloud {
                Known::Cloud(cloud) => Cloud::clone(cloud),
                Known::Manager(manager) => Cloud::described_by(manager, connections).await.map_err(failed)?,
            };
            let kind = self
                .credential
                .map_or_else(|| CredentialKind::offered_by(variables), CredentialKind::from);
            let clock = Arc::new(SystemClock);
            let credential = Credential::new(kind, variables, &cloud, connections, Arc::clone(&clock) as _);
            let bounds = Bounds {
                calls_in_flight: usize::from(self.calls_in_flight),
                ..Bounds::default()
            };
            let asker = Asker::new(cloud, credential.map_err(failed)?, connections, clock, bounds).await;
            asker.map_err(failed)
        })?;
        let mut subscriptions: Vec<String> = self.subscription.iter().map(ToString::to_string).collect();
        if subscriptions.is_empty() {
            subscriptions.extend(variables.get("AZURE_SUBSCRIPTION_ID").map(str::to_owned));
        }
        Ok(Connected {
            asker,
            runtime,
            subscriptions,
            local: place.local,
        })
    }

    fn place(&self) -> Result<Place, CliError> {
        let is_named = self.cloud.is_some() || self.cloud_file.is_some();
        if let Some(data) = self.data.as_ref().filter(|_| !is_named) {
            return local(data);
        }
        let variables = Variables::of_process();
        let named = |name: &str| Cloud::named(name).map(|cloud| Known::Cloud(Box::new(cloud)));
        let cloud = match (&self.cloud, &self.cloud_file, variables.get(ARM_ENDPOINT)) {
            (Some(name), ..) => named(name.as_str()),
            (None, Some(file), _) => {
                let document = std::fs::read(file).map_err(CliError::io(file.display().to_string()))?;
                let cloud = Cloud::from_metadata(&document, None)
                    .map_err(|error| CliError::Configuration(vec![format!("{}: {error}", file.display())]))?;
                Some(Known::Cloud(Box::new(cloud)))
            }
            (None, None, Some(manager)) => Some(Known::Manager(manager.to_owned())),
            (None, None, None) => named("public"),
        };
        Ok(Place {
            cloud: cloud.ok_or(Failure::Protocol("no such cloud"))?,
            connections: Connections::default(),
            variables,
            local: None,
        })
    }
}

/// Where things are, before anybody was asked.
struct Place {
    cloud: Known,
    connections: Connections,
    variables: Variables,
    local: Option<DataFolder>,
}

enum Known {
    Cloud(Box<Cloud>),
    /// A Resource Manager that says what belongs to its cloud.
    Manager(String),
}

/// The instance on a data folder, reached without a proxy.
fn local(data: &std::path::Path) -> Result<Place, CliError> {
    let folder = DataFolder::at(data).map_err(Failure::from)?;
    let environment = match Environment::load(&folder) {
        Err(EnvironmentError::Missing { folder }) => return Err(CliError::NotRunning(folder)),
        other => other.map_err(Failure::from)?,
    };
    let certificate = folder.authority_certificate();
    let roots =
        std::fs::read(&certificate).map_err(|cause| Failure::from(FolderError::at(&certificate, cause)))?;
    let manager = environment.get(ARM_ENDPOINT).unwrap_or_default().to_owned();
    let port = Url::parse(&manager)
        .ok()
        .and_then(|url| url.port_or_known_default());
    let port = port.ok_or(Failure::Protocol("ARM_ENDPOINT in the env file is no URL"))?;
    let known = environment
        .iter()
        .filter(|(name, _)| Variables::NAMES.contains(name));
    Ok(Place {
        cloud: Known::Manager(manager),
        connections: Connections {
            trusted_roots: Some(roots),
            localhost: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        },
        variables: Variables::from_pairs(known),
        local: Some(folder),
    })
}

fn failed(error: impl ToString) -> CliError {
    Failure::Cloud(error.to_string()).into()
}

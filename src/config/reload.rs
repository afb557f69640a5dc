//! Reads the configuration again on SIGHUP, or when the node file or a file that it names has changed. The one watcher
//! of files in a node: it compares their contents, since a Kubernetes Secret changes by a symlink being moved, which
//! no time stamp tells.
//!
//! A reading is taken as a whole or not at all: the file is checked, a key that needs a restart ([`schema`] says which)
//! keeps its running value, every part makes ready what it needs ([`Parts`]), and only then do they and the channel
//! change. Whoever uses a value takes it from the channel's latest configuration when a session, a transaction or a
//! look-up begins; a change of a named file alone is published too, so that keys and certificates are read again.
//!
//! [`schema`]: crate::config::schema

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::schema::Key;
use crate::config::{Config, ConfigErrors, Parts, files};

/// How often the files are looked at. A change is taken once two looks in a row agree, so that a file that is
/// being written is not read half.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What became of a reading of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is in force.
    Taken,
    /// It is in force but for keys that wait for a restart.
    TakenInPart,
    /// It had errors, or a part could not follow; the one before stays in force.
    Refused,
}

/// Called with what became of each reading.
type Observer = Box<dyn Fn(Reading) + Send + Sync>;

/// Watches the node file and publishes each good reading of it.
pub struct Reloader {
    path: PathBuf,
    variables: Vec<(String, String)>,
    current: watch::Sender<Arc<Config>>,
    parts: Parts,
    observer: Observer,
    /// The files that the last good reading named.
    named: Vec<PathBuf>,
    /// Of the files as they were when last read.
    read: Fingerprint,
    /// Of the files as they were at the last look.
    seen: Fingerprint,
}

impl Reloader {
    /// Starts from the configuration that was just loaded from this file and these variables.
    #[must_use]
    pub fn new(
        path: PathBuf,
        variables: Vec<(String, String)>,
        first: Config,
        observer: impl Fn(Reading) + Send + Sync + 'static,
    ) -> (Self, watch::Receiver<Arc<Config>>) {
        let named = named(&first);
        let print = Fingerprint::of(&path, &named);
        observer(Reading::Taken);
        let (current, receiver) = watch::channel(Arc::new(first));
        let reloader = Self {
            path,
            variables,
            current,
            parts: Parts::default(),
            observer: Box::new(observer),
            named,
            read: print.clone(),
            seen: print,
        };
        (reloader, receiver)
    }

    /// The same, with these parts of the node in its wake.
    #[must_use]
    pub fn leading(self, parts: Parts) -> Self {
        Self { parts, ..self }
    }

    /// Watches until the node is stopped.
    ///
    /// # Errors
    /// When the system gives no SIGHUP handler.
    pub async fn run(mut self, shutdown: CancellationToken) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = hangup.recv() => true,
                _ = poll.tick() => false,
            };
            let step = move || {
                if asked {
                    self.reload()
                } else {
                    self.look()
                };
                self
            };
            // A panic in there would be a mistake of ours; the node then runs on without a watcher.
            match spawn_blocking(step).await {
                Ok(back) => self = back,
                Err(cause) => {
                    error!(%cause, "the configuration is no longer watched");
                    return Ok(());
                }
            }
        }
    }

    /// Reads again if the files have changed and have stayed the same since the last look. Blocks.
    pub fn look(&mut self) {
        let now = Fingerprint::of(&self.path, &self.named);
        if now != self.read && now == self.seen {
            self.reload();
        } else {
            self.seen = now;
        }
    }

    /// Reads again. Blocks.
    pub fn reload(&mut self) {
        // Once for the names of the files, and once more for what is in them: a change in between is then found at
        // the next look.
        let first = self.load();
        if let Ok(config) = &first {
            self.named = named(config);
        }
        self.read = Fingerprint::of(&self.path, &self.named);
        self.seen = self.read.clone();
        let reading = first.and_then(|_| self.load()).and_then(|config| self.switch(config));
        let reading = reading.unwrap_or_else(|causes| {
            for cause in causes {
                error!(cause, "configuration refused; the running one is kept");
            }
            Reading::Refused
        });
        (self.observer)(reading);
    }

    fn load(&self) -> Result<Config, Vec<String>> {
        Config::load(&self.path, &self.variables).map_err(texts)
    }

    fn switch(&self, config: Config) -> Result<Reading, Vec<String>> {
        let running = Arc::clone(&self.current.borrow());
        let (config, kept) = config.keeping(&running).map_err(texts)?;
        let changed = running.changed(&config);
        let config = Arc::new(config);
        self.parts.follow(&config)?;
        config.warn_of_exposed_secrets();
        self.current.send_replace(config);
        info!(path = %self.path.display(), changed = paths(&changed), "configuration reloaded");
        for key in &kept {
            warn!(key = key.path(), "a change of this key needs a restart; the running value is kept");
        }
        Ok(if kept.is_empty() { Reading::Taken } else { Reading::TakenInPart })
    }
}

fn named(config: &Config) -> Vec<PathBuf> {
    config.files().into_iter().map(Path::to_owned).collect()
}

fn texts(ConfigErrors(errors): ConfigErrors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn paths(keys: &[&Key]) -> String {
    keys.iter().map(|key| key.path()).collect::<Vec<_>>().join(" ")
}

/// A digest of the content of the node file and all files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(path: &Path, named: &[PathBuf]) -> Self {
        let mut context = Context::new(&SHA256);
        for file in std::iter::once(path).chain(named.iter().map(PathBuf::as_path)) {
            let content = files::read(file).unwrap_or_else(|error| error.to_string().into_bytes());
            context.update(&(content.len() as u64).to_be_bytes());
            context.update(&content);
        }
        let mut print = [0; 32];
        print.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(print)
    }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;

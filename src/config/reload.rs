//! Reads the configuration again on SIGHUP, or when the node file or a file that it names has changed.
//!
//! Every key can change while the node runs but [`RESTART_KEYS`]: those keep the running value, and the log
//! says so. Whoever uses a value takes it from the channel's latest configuration when a session, a
//! transaction or a look-up begins; a change of a named file alone is published too, so that keys and
//! certificates are read again. A bad file changes nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
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

use crate::config::{Config, ConfigErrors, files};

/// How often the files are looked at. A change is taken once two looks in a row agree, so that a file that is
/// being written is not read half.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The keys whose change needs a restart.
pub const RESTART_KEYS: &[&str] =
    &["smtp.listen", "http.listen", "public.listen", "admin.listen", "node.data_dir"];

/// What became of a reading of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is in force.
    Taken,
    /// It had errors; the one before stays in force.
    Refused,
}

/// Called with what became of each reading.
type Observer = Box<dyn Fn(Reading) + Send + Sync>;

/// Watches the node file and publishes each good reading of it.
pub struct Reloader {
    path: PathBuf,
    variables: Vec<(String, String)>,
    current: watch::Sender<Arc<Config>>,
    observer: Observer,
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
        let print = Fingerprint::of(&path, &first);
        observer(Reading::Taken);
        let (current, receiver) = watch::channel(Arc::new(first));
        let reloader =
            Self { path, variables, current, observer: Box::new(observer), read: print.clone(), seen: print };
        (reloader, receiver)
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
        let now = Fingerprint::of(&self.path, &self.current.borrow());
        if now != self.read && now == self.seen {
            self.reload();
        } else {
            self.seen = now;
        }
    }

    /// Reads again. Blocks.
    pub fn reload(&mut self) {
        let running = Arc::clone(&self.current.borrow());
        let before = Fingerprint::of(&self.path, &running);
        match Config::load(&self.path, &self.variables) {
            Ok(mut config) => {
                for key in keep_running(&mut config, &running) {
                    warn!(key, "a change of this key needs a restart; the running value is kept");
                }
                self.read = Fingerprint::of(&self.path, &config);
                self.current.send_replace(Arc::new(config));
                info!(path = %self.path.display(), "configuration reloaded");
                (self.observer)(Reading::Taken);
            }
            Err(ConfigErrors(errors)) => {
                self.read = before;
                for cause in errors {
                    error!(%cause, "configuration refused; the running one is kept");
                }
                (self.observer)(Reading::Refused);
            }
        }
        self.seen = self.read.clone();
    }
}

/// Puts the running values of [`RESTART_KEYS`] into the new configuration. Returns the keys that differed.
fn keep_running(new: &mut Config, running: &Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    let mut keep = |differs: bool, key: &'static str| {
        if differs {
            kept.push(key);
        }
    };
    let addresses = |listen: &[SocketAddr]| listen.iter().copied().collect::<BTreeSet<_>>();
    keep(addresses(&new.smtp.listen) != addresses(&running.smtp.listen), "smtp.listen");
    keep(new.http.listen != running.http.listen, "http.listen");
    keep(new.public != running.public, "public.listen");
    keep(new.admin.listen != running.admin.listen, "admin.listen");
    keep(new.node.data_dir != running.node.data_dir, "node.data_dir");
    new.smtp.listen.clone_from(&running.smtp.listen);
    new.http.listen = running.http.listen;
    new.public.clone_from(&running.public);
    new.admin.listen = running.admin.listen;
    new.node.data_dir.clone_from(&running.node.data_dir);
    kept
}

/// A digest of the content of the node file and all files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(path: &Path, config: &Config) -> Self {
        let mut context = Context::new(&SHA256);
        for file in std::iter::once(path).chain(config.files()) {
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

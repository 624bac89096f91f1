//! Telling others of incidents: once when one opens and once when it is over.
//!
//! Each target has a thread of its own and a queue of its own: one that is slow, or away, holds up nobody, and is told later
//! what still matters then.

mod body;
mod post;
mod queue;
mod targets;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use varta_client::keyfile::SecretFileError;
use varta_config::{Webhook, WebhookKind};
use varta_daemon::{clock::Clock, http::read_token};
use varta_vlp::time::{MonoNs, nanos};

use body::{Template, alerts};
use post::{Answer, Post};
use queue::{Queue, Timing};

pub(crate) use targets::open_all;

use crate::store::{Mark, Store};

/// How often an Alertmanager is told again of what is open.
const REPEAT: Duration = Duration::from_secs(60);
/// For how long it waits for more, once an open incident became another.
const GATHER: Duration = Duration::from_secs(1);

/// Why a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The file with its token.
    #[error(transparent)]
    Token(#[from] varta_daemon::http::TokenError),
    /// The file with its address.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// What stands in that is no address.
    #[error("{}: is no address: it must be one line, such as https://host/path, without a user or a password", file.display())]
    Address {
        /// The file.
        file: PathBuf,
    },
    /// Its address is that of an earlier one.
    #[error("webhook[{index}]: its address is also that of another; write each webhook once")]
    Twice {
        /// Which, from 0.
        index: usize,
    },
    /// Its template cannot be read.
    #[error("{}: cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Its template is none.
    #[error("{}: {problem}", file.display())]
    Template {
        /// The file.
        file: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// An incident, as webhooks are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) id: u64,
    pub(crate) open: bool,
    pub(crate) silenced: bool,
    /// As the API shows it.
    pub(crate) incident: Arc<Value>,
}

/// What a target has counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: AtomicU64,
    /// Tries that are tried again.
    pub(crate) retried: AtomicU64,
    /// What the target refused for good, or was tried for too long.
    pub(crate) given_up: AtomicU64,
    /// What found no room.
    pub(crate) lost: AtomicU64,
    pub(crate) waiting: AtomicU64,
}

/// One target: where notices are handed in.
#[derive(Clone)]
pub(crate) struct Hook {
    inbox: Arc<Inbox>,
    /// Its address without what may be secret in it.
    pub(crate) name: String,
    pub(crate) counts: Arc<Counts>,
}

impl Hook {
    /// Opens a target and starts its thread, for the relay called `relay`.
    fn open(webhook: &Webhook, url: &str, name: String, relay: &str, memory: Memory) -> Result<Self, WebhookError> {
        let token = webhook.token_file.as_deref().map(read_token).transpose()?;
        let template = webhook.template.as_deref().map(Template::load).transpose()?;
        let counts = Arc::new(Counts::default());
        let Memory { number, told, store } = memory;
        let queue = Queue::new(Timing { retry_for: webhook.retry_for, ..Timing::default() }, told);
        let shared = Arc::new(Shared { state: Mutex::new(State { queue, ended: false }), wake: Condvar::new() });
        let target = Target {
            post: Post::new(url, webhook.kind, token, webhook.timeout),
            kind: webhook.kind,
            template,
            relay: relay.to_owned(),
            name: name.clone(),
            shared: Arc::clone(&shared),
            counts: Arc::clone(&counts),
            number,
            store,
        };
        // A thread that cannot be started is a target that is never told; the system says why.
        if let Err(error) = std::thread::Builder::new().name("varta-webhook".to_owned()).spawn(move || target.run()) {
            tracing::error!(webhook = name, "no thread can be started for a webhook: {error}");
        }
        Ok(Self { inbox: Arc::new(Inbox(shared)), name, counts })
    }

    /// Hands in a notice, without waiting for what is being sent.
    pub(crate) fn tell(&self, notice: Notice) {
        let mut state = self.inbox.0.state();
        let lost = state.queue.update(Clock::now().mono, notice);
        self.counts.lost.fetch_add(lost, Ordering::Relaxed);
        self.counts.waiting.store(state.queue.len() as u64, Ordering::Relaxed);
        drop(state);
        self.inbox.0.wake.notify_one();
    }
}

/// What a target was told before, and where what it is told is noted.
struct Memory {
    /// What the store knows it by.
    number: u64,
    told: BTreeMap<u64, Mark>,
    store: Option<Store>,
}

/// What a target's thread and those who hand in notices have in common. Its lock is never held while something is sent.
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    queue: Queue,
    /// Nobody can hand anything in any more.
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where notices are handed in; with the last of these the target's thread ends.
struct Inbox(Arc<Shared>);

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.wake.notify_one();
    }
}

struct Target {
    post: Post,
    kind: WebhookKind,
    template: Option<Template>,
    relay: String,
    name: String,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    number: u64,
    store: Option<Store>,
}

impl Target {
    /// Delivers until nobody can hand anything in any more.
    fn run(self) {
        let mut failing = false;
        let mut again = Clock::now().mono;
        while let Some(repeats) = self.wait(again) {
            let now = Clock::now().mono;
            if repeats && again <= now {
                again = now.after(nanos(REPEAT));
                let open: Vec<_> = self.shared.state().queue.open().cloned().collect();
                // What is missed now is told in a minute.
                let _ = self.post.send(&alerts(&self.relay, &open));
            }
            self.deliver(&mut failing);
            let mut state = self.shared.state();
            if state.queue.take_changed() {
                again = again.min(now.after(nanos(GATHER)));
            }
            let expired = state.queue.expire(Clock::now().mono);
            self.counts.given_up.fetch_add(expired, Ordering::Relaxed);
            self.counts.waiting.store(state.queue.len() as u64, Ordering::Relaxed);
            self.note(&mut state.queue);
        }
    }

    /// Waits until there is something to do; whether what is open is to be repeated at times. `None`: it is over.
    fn wait(&self, again: MonoNs) -> Option<bool> {
        let mut state = self.shared.state();
        let began = Clock::now().mono;
        loop {
            if state.ended {
                return None;
            }
            let now = Clock::now().mono;
            let repeats = self.kind == WebhookKind::Alertmanager && state.queue.has_open();
            let due = state.queue.due().min(if repeats { again } else { MonoNs::NEVER });
            if due <= now || state.queue.has_news() || REPEAT <= Duration::from_nanos(now.since(began)) {
                return Some(repeats);
            }
            let wait = Duration::from_nanos(due.since(now)).min(REPEAT);
            state = self.shared.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has the store remember what this target was told.
    fn note(&self, queue: &mut Queue) {
        let marked = queue.take_marked();
        if let Some(store) = self.store.as_ref().filter(|_| !marked.is_empty()) {
            store.note(|pending| marked.iter().for_each(|(id, mark)| pending.mark(self.number, *id, *mark)));
        }
    }

    fn text_of(&self, notice: &Notice) -> String {
        match &self.template {
            _ if self.kind == WebhookKind::Alertmanager => alerts(&self.relay, [notice]),
            Some(template) => template.render(&self.relay, notice),
            None => body::json(&self.relay, notice),
        }
    }

    /// Tries what is due.
    fn deliver(&self, failing: &mut bool) {
        loop {
            let next = self.shared.state().queue.next(Clock::now().mono).cloned();
            let Some(notice) = next else { return };
            let answer = self.post.send(&self.text_of(&notice));
            let now = Clock::now().mono;
            let mut state = self.shared.state();
            match answer {
                Answer::Taken => {
                    self.counts.delivered.fetch_add(1, Ordering::Relaxed);
                    state.queue.done(now, &notice);
                    if std::mem::take(failing) {
                        tracing::info!(webhook = self.name, "the webhook takes what it is told again");
                    }
                }
                Answer::Refused(why) => {
                    self.counts.given_up.fetch_add(1, Ordering::Relaxed);
                    state.queue.done(now, &notice);
                    tracing::warn!(webhook = self.name, "the webhook refuses what it is told: {why}");
                }
                Answer::Later(why) => {
                    self.counts.retried.fetch_add(1, Ordering::Relaxed);
                    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
                    state.queue.retry(now, share);
                    if !std::mem::replace(failing, true) {
                        tracing::warn!(
                            webhook = self.name,
                            "the webhook does not take what it is told, and is tried again: {why}"
                        );
                    }
                    return;
                }
            }
            // What was told is noted before the next is sent.
            self.note(&mut state.queue);
        }
    }
}

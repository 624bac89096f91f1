//! A relay that takes what it is told, and does as a test wants.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::watch;
use varta_core::Verdict;
use varta_link::{Allowed, Identity, Limits, Link, Listener};
use varta_vlp::{
    key::{IdentitySecret, Name, PublicKey},
    report::{FromObserver, FromRelay, Item, Welcome},
};

/// A row as it was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) agent: String,
    pub(crate) unit: String,
    pub(crate) verdict: Verdict,
    pub(crate) why: String,
    pub(crate) site: String,
    pub(crate) age_ms: Option<u32>,
    /// Whether it has been touched since it was told as a whole.
    pub(crate) touches: u32,
}

/// Everything that was said.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) rows: BTreeMap<u32, Told>,
    /// Of each link, the number that the observer said is acknowledged.
    pub(crate) hellos: Vec<u64>,
    pub(crate) boots: Vec<u64>,
    pub(crate) snapshots: u32,
    pub(crate) ends: u32,
    pub(crate) statuses: u32,
    pub(crate) received: u64,
    held: u64,
}

impl Heard {
    pub(crate) fn row(&self, agent: &str, unit: &str) -> Option<&Told> {
        self.rows.values().find(|told| told.agent == agent && told.unit == unit)
    }
}

/// What a test has it do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Reads,
    /// Leaves everything unread.
    Pauses,
    /// Ends its link, and takes no other.
    Away,
}

pub(crate) struct Stub {
    heard: Arc<Mutex<Heard>>,
    mood: watch::Sender<Mood>,
    pub(crate) address: SocketAddr,
    pub(crate) key: PublicKey,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stub {
    /// A relay that lets these observers in.
    pub(crate) fn start(observers: &[PublicKey]) -> Self {
        let secret = IdentitySecret::from_bytes([11; 32]);
        let identity = Identity::new(&secret);
        let allowed = Allowed::default();
        allowed.set(observers.iter().map(|key| (*key, "obs-1".to_owned())));
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (mood, moods) = watch::channel(Mood::Reads);
        let (ready, address) = std::sync::mpsc::channel();
        let told = Arc::clone(&heard);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
                let mut listener = Listener::bind(loopback, &identity, allowed, Limits::default()).unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                serve(&mut listener, &told, moods).await;
            });
        });
        let address = address.recv().unwrap();
        Self { heard, mood, address, key: secret.public(), thread: Some(thread) }
    }

    pub(crate) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // Without a sender the thread ends.
        self.mood = watch::channel(Mood::Away).0;
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Takes links one after another until the test is over.
async fn serve(listener: &mut Listener, heard: &Mutex<Heard>, mut moods: watch::Receiver<Mood>) {
    loop {
        let arrived = tokio::select! {
            arrived = listener.accept() => arrived,
            changed = moods.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Some(arrived) = arrived else { return };
        if *moods.borrow() == Mood::Away {
            arrived.link.closer().close("away");
            continue;
        }
        let mut link = arrived.link;
        loop {
            match turn(&mut link, heard, &mut moods).await {
                Turn::Taken => {}
                Turn::Ended => break,
                Turn::Away => {
                    link.closer().close("away");
                    break;
                }
                Turn::Over => return,
            }
        }
    }
}

/// How taking one message went.
enum Turn {
    Taken,
    Ended,
    Away,
    /// The test is over.
    Over,
}

/// Takes one message. While it is not to be read, a message that is half read stays so.
async fn turn(link: &mut Link, heard: &Mutex<Heard>, moods: &mut watch::Receiver<Mood>) -> Turn {
    let mut taking = pin!(take(link, heard));
    loop {
        let mood = *moods.borrow_and_update();
        if mood == Mood::Away {
            return Turn::Away;
        }
        tokio::select! {
            goes_on = &mut taking, if mood == Mood::Reads => return if goes_on { Turn::Taken } else { Turn::Ended },
            changed = moods.changed() => if changed.is_err() {
                return Turn::Over;
            },
        }
    }
}

/// Takes one message, and answers it; false at the end of the link.
async fn take(link: &mut Link, heard: &Mutex<Heard>) -> bool {
    let Ok(Some(message)) = link.receiver.receive().await else { return false };
    let mut room = [0; 256];
    let len = match answer(FromObserver::parse(message).unwrap(), &mut heard.lock().unwrap()) {
        Some(answer) => answer.write(&mut room).unwrap(),
        None => return true,
    };
    link.sender.send(&room[..len]).await.is_ok()
}

fn answer(message: FromObserver<'_>, heard: &mut Heard) -> Option<FromRelay<'static>> {
    match message {
        FromObserver::Hello(hello) => {
            heard.hellos.push(hello.acked);
            heard.boots.push(hello.boot);
            return Some(FromRelay::Welcome(Welcome { relay: Name::new("stub").unwrap(), held: heard.held }));
        }
        FromObserver::Status(status) => {
            heard.statuses += 1;
            heard.received = status.datagrams[0];
            return None;
        }
        FromObserver::Snapshot { seq } => {
            heard.snapshots += 1;
            heard.rows.clear();
            heard.held = seq;
        }
        FromObserver::Items { seq, items } => {
            assert_eq!(seq, heard.held + 1, "numbers follow one another");
            heard.held = seq;
            items.iter().for_each(|item| item_of(item.unwrap(), heard));
        }
        FromObserver::End { seq } => {
            assert_eq!(seq, heard.held + 1, "numbers follow one another");
            heard.held = seq;
            heard.ends += 1;
        }
    }
    Some(FromRelay::Ack { seq: heard.held })
}

fn item_of(item: Item<'_>, heard: &mut Heard) {
    match item {
        Item::Entry(entry) => {
            let name = |name: Option<Name<'_>>| name.map_or(String::new(), |name| name.as_str().to_owned());
            let told = Told {
                agent: name(entry.agent_name),
                unit: name(entry.unit_name),
                verdict: entry.verdict,
                why: entry.why.to_owned(),
                site: entry.labels.and_then(|labels| labels.get("site")).unwrap_or_default().to_owned(),
                age_ms: entry.age_ms,
                touches: 0,
            };
            heard.rows.insert(entry.handle, told);
        }
        Item::Touch(touch) => {
            let told = heard.rows.get_mut(&touch.handle).expect("only what was told is touched");
            (told.age_ms, told.touches) = (touch.age_ms, told.touches + 1);
        }
        Item::Gone(handle) => drop(heard.rows.remove(&handle)),
    }
}

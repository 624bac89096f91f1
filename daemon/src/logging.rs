//! The log on standard error: text for people or JSON for machines, at a level that a reload can change.

use std::{io, sync::Arc};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer as _, Registry, filter::Targets, layer::SubscriberExt as _, reload};
use varta_config::{Log, LogFormat, LogLevel};

/// Most lines waiting to be written; beyond them lines are lost rather than the observer held up.
const LINES: usize = 65_536;

/// Changes the level of the running log. When the last clone is dropped, lines still waiting are written.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<Targets, Registry>,
    _writer: Arc<WorkerGuard>,
}

/// The log was set up before, by this program or by whoever embeds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log of this process is set up already")]
pub struct AlreadyLogging;

/// Sets up the log of the whole process on standard error. `color` is for text only: whether a person's terminal reads
/// it and `NO_COLOR` does not forbid it.
///
/// # Errors
/// [`AlreadyLogging`].
pub fn init(log: &Log, color: bool) -> Result<LogControl, AlreadyLogging> {
    let (filter, handle) = reload::Layer::new(targets(log.level));
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).thread_name("varta-log");
    let (writer, guard) = builder.finish(io::stderr());
    let lines = match log.format {
        LogFormat::Json => {
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).with_filter(filter).boxed()
        }
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(color)
            .with_target(false)
            .with_writer(writer)
            .with_filter(filter)
            .boxed(),
    };
    tracing::subscriber::set_global_default(Registry::default().with(lines)).map_err(|_| AlreadyLogging)?;
    Ok(LogControl { filter: handle, _writer: Arc::new(guard) })
}

impl LogControl {
    /// Puts another level in force.
    pub fn set_level(&self, level: LogLevel) {
        // Without a log there is nothing to change.
        drop(self.filter.reload(targets(level)));
    }
}

/// Our own crates at `level`; what others have to say only from warnings on.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("varta", level)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn others_are_heard_from_warnings_on() {
        let debug = targets(LogLevel::Debug);
        assert!(debug.would_enable("varta_watch::ingest", &Level::DEBUG));
        assert!(!debug.would_enable("varta_watch::ingest", &Level::TRACE));
        assert!(debug.would_enable("mio::poll", &Level::WARN));
        assert!(!debug.would_enable("mio::poll", &Level::INFO));
        let error = targets(LogLevel::Error);
        assert!(!error.would_enable("mio::poll", &Level::WARN));
        assert!(!error.would_enable("varta", &Level::WARN));
    }
}

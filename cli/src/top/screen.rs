//! The terminal: taken over, and given back however this ends.

use std::{
    io::Stdout,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, bail};
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    buffer::Buffer,
    crossterm::{
        cursor::Show,
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

/// The whole screen of a terminal.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// Whether the terminal is taken over: a panic may have given it back already.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back, once: what was written since, as of a panic, is not to be written over. What fails here cannot be
/// told anywhere.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(std::io::stdout(), LeaveAlternateScreen, Show);
    }
}

impl Screen {
    /// Takes the terminal over. A panic of any thread gives it back before it is told.
    pub(super) fn open() -> anyhow::Result<Self> {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            told(panic);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        let taken = enable_raw_mode().and_then(|()| execute!(std::io::stdout(), EnterAlternateScreen));
        match taken.and_then(|()| Terminal::new(CrosstermBackend::new(std::io::stdout()))) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error).context("the terminal cannot be taken over: use `varta status`, or --once")
            }
        }
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> anyhow::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            bail!("the terminal was given back, by a fault of the program");
        }
        self.terminal.draw(draw).context("the terminal cannot be drawn on")?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// What was drawn, as lines of text.
pub(super) fn text_of(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width.max(1));
    let mut lines: Vec<String> = Vec::new();
    for row in buffer.content.chunks(width) {
        let mut line = String::new();
        let mut skip = 0;
        for cell in row {
            // A wide character stands in more than one cell.
            if skip == 0 {
                line.push_str(cell.symbol());
                skip = ratatui::text::Span::raw(cell.symbol()).width();
            }
            skip = skip.saturating_sub(1);
        }
        lines.push(line.trim_end().to_owned());
    }
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines.truncate(end);
    lines.into_iter().map(|line| line + "\n").collect()
}

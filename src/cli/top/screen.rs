//! The terminal: shows the picture and hears the keys.

use std::io;
use std::ops::ControlFlow;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::follow::News;
use super::state::{State, Wish};
use super::view::{most_scrolled, view};
use super::{TopError, now_ms};

/// Lines that a page key scrolls.
const PAGE: usize = 10;

/// Shows the workers until a key or a signal ends it. The terminal is as it was afterwards, after a panic too.
pub(super) async fn show(
    state: &mut State,
    news: &mut mpsc::Receiver<News>,
) -> Result<(), TopError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(TopError::Resource)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(TopError::Resource)?;
    let mut events = terminal_events().map_err(TopError::Resource)?;
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let outcome = async {
        loop {
            draw(&mut terminal, state)?;
            tokio::select! {
                heard = news.recv() => match heard {
                    Some(news) => state.hear(news),
                    None => return Ok(()),
                },
                event = events.recv() => match event {
                    Some(event) => {
                        if answer(state, &event?).is_break() {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                _ = terminate.recv() => return Ok(()),
                _ = hang_up.recv() => return Ok(()),
            }
        }
    };
    let outcome: io::Result<()> = outcome.await;
    ratatui::try_restore().map_err(TopError::Terminal)?;
    outcome.map_err(TopError::Terminal)
}

/// Reads the terminal on a thread of its own, which ends with the process: a read cannot be called off.
fn terminal_events() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (sender, events) = mpsc::channel(16);
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            loop {
                let event = event::read();
                let last = event.is_err();
                if sender.blocking_send(event).is_err() || last {
                    return;
                }
            }
        })?;
    Ok(events)
}

fn draw(terminal: &mut DefaultTerminal, state: &mut State) -> io::Result<()> {
    state.now_ms = now_ms();
    terminal.draw(|frame| {
        let size = frame.area().as_size();
        state.scrolled = state.scrolled.min(most_scrolled(state, size));
        *frame.buffer_mut() = view(state, size);
    })?;
    Ok(())
}

/// Does what a key says.
fn answer(state: &mut State, event: &Event) -> ControlFlow<()> {
    let Event::Key(key) = event else {
        // A new size: what is drawn next has it.
        return ControlFlow::Continue(());
    };
    if key.kind == KeyEventKind::Release {
        return ControlFlow::Continue(());
    }
    if ends(*key) {
        return ControlFlow::Break(());
    }
    if let Some(wish) = wish(key.code) {
        state.fulfil(wish);
    }
    ControlFlow::Continue(())
}

/// Raw mode makes a key of Ctrl-C, too.
fn ends(key: KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

fn wish(key: KeyCode) -> Option<Wish> {
    Some(match key {
        KeyCode::Right | KeyCode::Tab | KeyCode::Char('l') => Wish::NextWorker,
        KeyCode::Left | KeyCode::BackTab | KeyCode::Char('h') => Wish::PreviousWorker,
        KeyCode::Down | KeyCode::Char('j') => Wish::Down(1),
        KeyCode::Up | KeyCode::Char('k') => Wish::Up(1),
        KeyCode::PageDown | KeyCode::Char(' ') => Wish::Down(PAGE),
        KeyCode::PageUp => Wish::Up(PAGE),
        KeyCode::Home | KeyCode::Char('g') => Wish::Top,
        KeyCode::End | KeyCode::Char('G') => Wish::Down(usize::MAX),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> bool {
        answer(state, &Event::Key(KeyEvent::new(code, modifiers))).is_break()
    }

    #[test]
    fn keys_do_what_the_last_line_says() {
        let mut state = State::new(["a:1", "b:1"].map(|url| url.parse().unwrap()).to_vec());
        assert!(!press(&mut state, KeyCode::Right, KeyModifiers::NONE));
        assert!(!press(&mut state, KeyCode::Down, KeyModifiers::NONE));
        assert_eq!((state.chosen, state.scrolled), (1, 1));
        assert!(!press(&mut state, KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(press(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(press(&mut state, KeyCode::Char('q'), KeyModifiers::NONE));
    }
}

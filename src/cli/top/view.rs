//! The picture: a state and a size make a buffer, which the terminal only has to show.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect, Size};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Widget as _;

use super::page::{details, overview};
use super::state::State;

/// What the last line says.
const KEYS: &str = "q quit   ↑↓ scroll";
const MORE_KEYS: &str = "q quit   ↑↓ scroll   ←→ worker";

/// What is where.
struct Parts {
    overview: Rect,
    details: Rect,
    keys: Rect,
}

fn parts(state: &State, size: Size) -> Parts {
    let area = Rect::from((ratatui::layout::Position::ORIGIN, size));
    let workers = u16::try_from(state.workers.len()).unwrap_or(u16::MAX);
    // The names of the columns, and a line apart; no more than half of the screen.
    let wanted = if workers > 1 {
        workers.saturating_add(2)
    } else {
        0
    };
    let [overview, details, keys] = Layout::vertical([
        Constraint::Length(wanted.min(size.height / 2)),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    Parts {
        overview,
        details,
        keys,
    }
}

/// Draws all that fits.
pub(super) fn view(state: &State, size: Size) -> Buffer {
    let parts = parts(state, size);
    let mut buffer = Buffer::empty(Rect::from((ratatui::layout::Position::ORIGIN, size)));
    if parts.overview.height > 0 {
        let mut lines = overview(state);
        let head = lines.remove(0);
        let room = usize::from(parts.overview.height.saturating_sub(2));
        // As far down as the chosen one needs.
        let above = (state.chosen + 1).saturating_sub(room);
        let shown = lines.into_iter().skip(above).take(room);
        draw(
            std::iter::once(head).chain(shown),
            parts.overview,
            &mut buffer,
        );
    }
    let lines = chosen(state, size);
    let above = state.scrolled.min(most(&lines, parts.details));
    draw(lines.into_iter().skip(above), parts.details, &mut buffer);
    let keys = if state.workers.len() > 1 {
        MORE_KEYS
    } else {
        KEYS
    };
    let style = Style::new().add_modifier(Modifier::REVERSED);
    draw(std::iter::once(Line::raw(keys)), parts.keys, &mut buffer);
    buffer.set_style(parts.keys, style);
    buffer
}

/// How far the details can be scrolled on a screen of this size.
pub(super) fn most_scrolled(state: &State, size: Size) -> usize {
    most(&chosen(state, size), parts(state, size).details)
}

fn most(lines: &[Line<'_>], area: Rect) -> usize {
    lines.len().saturating_sub(usize::from(area.height))
}

fn chosen(state: &State, size: Size) -> Vec<Line<'static>> {
    details(
        &state.workers[state.chosen],
        usize::from(size.width),
        state.now_ms,
    )
}

fn draw(lines: impl Iterator<Item = Line<'static>>, area: Rect, buffer: &mut Buffer) {
    for (line, row) in lines.zip(area.rows()) {
        line.render(row, buffer);
    }
}

/// The same for all workers, one below the other, as a text, whose lines are cut after so many columns, if any. What a worker
/// says goes through a buffer here too, which leaves out what would steer a terminal.
pub(super) fn plain(state: &State, columns: Option<u16>) -> String {
    let wide = columns.map_or(usize::MAX, usize::from);
    let mut lines = Vec::new();
    if state.workers.len() > 1 {
        lines.extend(overview(state));
    }
    for worker in &state.workers {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.extend(details(worker, wide, state.now_ms));
    }
    lines.into_iter().map(|line| row(line, columns)).collect()
}

/// One line as a text.
fn row(line: Line<'_>, columns: Option<u16>) -> String {
    let all = u16::try_from(line.width()).unwrap_or(u16::MAX);
    let area = Rect::new(0, 0, columns.unwrap_or(all), 1);
    let mut buffer = Buffer::empty(area);
    line.render(area, &mut buffer);
    let cells = area.columns().map(|at| buffer[at.as_position()].symbol());
    cells.collect::<String>().trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::follow::{News, Trouble};
    use super::super::state::Wish;
    use super::*;
    use crate::remote::Moment;

    /// A worker with two runs, one of them old, and a problem.
    fn moment() -> Moment {
        serde_json::from_value(serde_json::json!({
            "state": "running", "worker_id": "calm-red-fox", "version": "0.1.0", "uptime_seconds": 3725,
            "connection": {"state": "connected", "queue_joined": true, "seconds": 65, "last_error": null},
            "workloops": [
                {"id": "fast_lane", "state": "claiming", "slots": 1, "active": 0, "pending": 1, "held_by": []},
                {"id": "manual>*", "state": "waiting", "slots": 4, "active": 2, "pending": 0, "held_by": ["memory"]},
            ],
            "runs": [
                {"id": "run-b", "workloop": "manual>*", "phase": "loading", "phase_seconds": 1, "age_seconds": 1, "job": null},
                {"id": "run-a", "workloop": "manual>*", "phase": "executing", "phase_seconds": 70, "age_seconds": 71, "job": "job-1"},
            ],
            "engine": {"state": "ready", "node": "v24.1.0", "runtime": "1.9.5", "children": [{"state": "busy"}, {"state": "idle"}, {"state": "busy"}]},
            "ended": {"crash": 1, "success": 12},
            "problems": [{"at_ms": 940_000, "level": "warn", "message": "a \u{1b}[31mline\nof two"}],
            "history": [{"at_ms": 1, "runs": 1, "start_ms": 4.5, "round_trip_ms": null}, {"at_ms": 2, "runs": 2, "start_ms": 12.0, "round_trip_ms": null}],
        }))
        .unwrap()
    }

    fn state(urls: &[&str]) -> State {
        let mut state = State::new(urls.iter().map(|url| url.parse().unwrap()).collect());
        state.now_ms = 1_000_000;
        state.hear(News {
            worker: 0,
            what: Ok(Box::new(moment())),
        });
        state
    }

    /// What a terminal of this size shows.
    fn screen(state: &State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| *frame.buffer_mut() = view(state, frame.area().as_size()))
            .unwrap();
        let text = terminal.backend().to_string();
        text.lines()
            .map(|line| line.trim_matches('"').trim_end().to_owned())
            .collect()
    }

    #[test]
    fn one_worker_fills_the_screen() {
        let shown = screen(&state(&["worker-1:2222"]), 100, 24);
        let dots = "·".repeat(29);
        assert_eq!(
            shown,
            [
                "http://worker-1:2222  running",
                "Worker      calm-red-fox, ws-worker 0.1.0, up for 1 h 2 min",
                "Lightning   connected, queue joined, for 1 min 5 s",
                "Engine      ready, Node v24.1.0, runtime 1.9.5",
                "Children    2 busy, 1 idle",
                "Runs ended  1 crash, 12 success",
                "",
                "Slots       fast_lane      ▣  0 of 1 used, claiming",
                "Slots       manual>*       ■■□□  2 of 4 used, waiting, held by memory",
                "",
                &format!("Runs/min    {dots}█  last 24, highest 24"),
                &format!("Start       {dots}█  last 12, highest 12 ms from claim to start"),
                &format!("Round trip  {dots}·  no data"),
                "",
                "Runs in hand: 2",
                "PHASE        IN PHASE        AGE RUN                                  WORKLOOP       JOB",
                "executing  1 min 10 s 1 min 11 s run-a                                manual>*       job-1",
                "loading           1 s        1 s run-b                                manual>*       –",
                "",
                "Last problems: 1",
                " 1 min 0 s ago  warn  a [31mline of two",
                "",
                "",
                "q quit   ↑↓ scroll",
            ]
        );
    }

    #[test]
    fn several_workers_are_a_table_with_the_details_of_the_chosen_one() {
        let mut state = state(&["worker-1:2222", "w2:2222"]);
        state.hear(News {
            worker: 1,
            what: Err(Trouble::Ended),
        });
        let shown = screen(&state, 100, 12);
        assert_eq!(
            shown[..5],
            [
                "  WORKER               STATE    SLOTS   RUNS/MIN ENDED   NAME",
                "▸ http://worker-1:2222 running  2/5     24       13      calm-red-fox",
                "  http://w2:2222       away     0/0     0        0       it has ended; trying again",
                "",
                "http://worker-1:2222  running",
            ]
        );
        assert_eq!(shown[11], MORE_KEYS);
        state.fulfil(Wish::NextWorker);
        let shown = screen(&state, 100, 12);
        assert!(shown[2].starts_with("▸ http://w2:2222"), "{shown:?}");
        assert_eq!(shown[4], "http://w2:2222  it has ended; trying again");
    }

    #[test]
    fn the_chosen_worker_is_on_a_small_screen_too() {
        let urls: Vec<String> = (0..30).map(|number| format!("w{number}:1")).collect();
        let mut state = state(&urls.iter().map(String::as_str).collect::<Vec<_>>());
        state.fulfil(Wish::PreviousWorker);
        let shown = screen(&state, 40, 10);
        assert!(shown[3].starts_with("▸ http://w29:1"), "{shown:?}");
        for size in [(0, 0), (1, 1), (3, 2), (300, 100)].map(Size::from) {
            view(&state, size);
        }
    }

    #[test]
    fn scrolling_ends_with_the_last_line() {
        let mut state = state(&["worker-1:2222"]);
        let size = Size::new(100, 10);
        assert_eq!(most_scrolled(&state, size), 21 - 9);
        state.fulfil(Wish::Down(1000));
        let shown = screen(&state, 100, 10);
        assert!(shown[8].contains("of two"), "{shown:?}");
        assert_eq!(most_scrolled(&state, Size::new(100, 50)), 0);
    }

    #[test]
    fn what_a_worker_told_last_stays_and_is_marked() {
        let mut state = state(&["worker-1:2222"]);
        state.hear(News {
            worker: 0,
            what: Err(Trouble::Silent),
        });
        let shown = screen(&state, 100, 24);
        assert_eq!(
            shown[0],
            "http://worker-1:2222  it has been silent for 10 s; trying again"
        );
        assert_eq!(shown[1], "What follows is what it told last.");
        assert!(shown[3].contains("connected"));
    }

    #[test]
    fn a_snapshot_has_all_lines_of_all_workers_and_nothing_that_steers_a_terminal() {
        let mut state = state(&["worker-1:2222", "w2:2222"]);
        state.hear(News {
            worker: 1,
            what: Ok(Box::new(moment())),
        });
        let text = plain(&state, None);
        assert_eq!(text.matches("a [31mline of two").count(), 2, "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        assert!(text.lines().all(|line| line == line.trim_end()));
    }

    #[test]
    fn lines_of_a_snapshot_are_cut_only_where_columns_are_counted() {
        let mut state = state(&["worker-1:2222"]);
        let mut moment = moment();
        let message = "long ".repeat(100) + "end";
        moment.problems[0].message.clone_from(&message);
        state.hear(News {
            worker: 0,
            what: Ok(Box::new(moment)),
        });
        assert!(plain(&state, None).contains(&message));
        let cut = plain(&state, Some(40));
        assert!(cut.lines().all(|line| line.chars().count() <= 40), "{cut}");
    }
}

//! What there is to read about the workers, as lines of any number.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::plots::{per_minute, plots};
use super::state::{State, Watched};
use crate::remote::{Moment, Problem, Workloop};

const GOOD: Style = Style::new().fg(Color::Green);
const WARN: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);
pub(super) const BUSY: Style = Style::new().fg(Color::Cyan);
const SOFT: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Width of the words before what they name.
const LABEL: usize = 12;

/// One line a worker, below a line with the names of the columns. What matters most comes first, for narrow terminals.
pub(super) fn overview(state: &State) -> Vec<Line<'static>> {
    let urls = state
        .workers
        .iter()
        .map(|worker| width(&worker.url.to_string()));
    let urls = urls.max().unwrap_or(0).max(6);
    let [worker, how, slots, rate, ended] = [
        ("WORKER", urls),
        ("STATE", 8),
        ("SLOTS", 7),
        ("RUNS/MIN", 8),
        ("ENDED", 7),
    ]
    .map(|(text, columns)| pad(text, columns));
    let head = format!("  {worker} {how} {slots} {rate} {ended} NAME");
    let mut lines = vec![Line::styled(head, SOFT)];
    for (number, worker) in state.workers.iter().enumerate() {
        let chosen = number == state.chosen;
        let moment = worker.moment.as_deref();
        let (used, slots) = moment.map_or((0, 0), Moment::slots);
        let ended: u64 = moment.map_or(0, |moment| moment.ended.values().sum());
        let rate = moment
            .and_then(|moment| moment.history.last())
            .map_or(0, per_minute);
        let figures = format!(
            "{} {} {} ",
            pad(&format!("{used}/{slots}"), 7),
            pad(&rate.to_string(), 8),
            pad(&ended.to_string(), 7),
        );
        let (how, style) = word(worker);
        let mut spans = vec![
            Span::raw(if chosen { "▸ " } else { "  " }),
            Span::raw(pad(&worker.url.to_string(), urls) + " "),
            Span::styled(pad(how, 8) + " ", style),
            Span::raw(figures),
        ];
        match (moment, &worker.trouble) {
            (Some(moment), None) => spans.push(Span::raw(moment.name().to_owned())),
            _ => spans.extend(condition(worker)),
        }
        let line = Line::from(spans);
        lines.push(if chosen { line.style(BOLD) } else { line });
    }
    lines
}

/// How a worker is, in a word.
fn word(worker: &Watched) -> (&str, Style) {
    match (&worker.moment, &worker.trouble) {
        (_, Some(_)) => ("away", BAD),
        (None, None) => ("asking", SOFT),
        (Some(moment), None) if moment.state != "running" => (&moment.state, WARN),
        (Some(moment), None) if !moment.connection.queue_joined => ("offline", BAD),
        (Some(moment), None) => (&moment.state, GOOD),
    }
}

/// How a worker is, in a few words.
fn condition(worker: &Watched) -> Vec<Span<'static>> {
    if let Some(trouble) = &worker.trouble {
        return vec![Span::styled(
            format!("{}; trying again", trouble.text()),
            BAD,
        )];
    }
    let Some(moment) = &worker.moment else {
        return vec![Span::styled("asking …", SOFT)];
    };
    let state = Span::styled(
        moment.state.clone(),
        if moment.state == "running" {
            GOOD
        } else {
            WARN
        },
    );
    let lightning = if moment.connection.queue_joined {
        Span::raw("")
    } else {
        Span::styled(
            format!(", not connected to Lightning ({})", moment.connection.state),
            BAD,
        )
    };
    vec![state, lightning]
}

/// All about one worker.
pub(super) fn details(worker: &Watched, columns: usize, now_ms: u64) -> Vec<Line<'static>> {
    let mut title = vec![Span::styled(worker.url.to_string(), BOLD), Span::raw("  ")];
    title.extend(condition(worker));
    let mut lines = vec![Line::from(title)];
    let Some(moment) = &worker.moment else {
        return lines;
    };
    if worker.trouble.is_some() {
        lines.push(Line::styled("What follows is what it told last.", WARN));
    }
    let about = format!(
        "{}, ws-worker {}, up for {}",
        moment.name(),
        moment.version,
        duration(moment.uptime_seconds)
    );
    lines.push(labelled("Worker", vec![Span::raw(about)]));
    lines.extend(lightning(moment));
    lines.extend(engine(moment));
    let ended: Vec<String> = moment
        .ended
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    lines.push(labelled("Runs ended", vec![Span::raw(listed(&ended))]));
    lines.push(Line::default());
    lines.extend(moment.workloops.iter().map(slots));
    lines.push(Line::default());
    lines.extend(plots(&moment.history, columns));
    lines.push(Line::default());
    lines.extend(runs(moment));
    lines.push(Line::default());
    lines.extend(problems(&moment.problems, now_ms));
    lines
}

pub(super) fn labelled(label: &str, what: Vec<Span<'static>>) -> Line<'static> {
    let mut spans = vec![Span::styled(pad(label, LABEL), SOFT)];
    spans.extend(what);
    Line::from(spans)
}

fn lightning(moment: &Moment) -> Vec<Line<'static>> {
    let connection = &moment.connection;
    let joined = if connection.queue_joined {
        "queue joined"
    } else {
        "queue not joined"
    };
    let text = format!(
        "{}, {joined}, for {}",
        connection.state,
        duration(connection.seconds)
    );
    let style = if connection.queue_joined { GOOD } else { BAD };
    let mut lines = vec![labelled("Lightning", vec![Span::styled(text, style)])];
    if let Some(error) = &connection.last_error {
        lines.push(labelled("", vec![Span::styled(error.clone(), BAD)]));
    }
    lines
}

fn engine(moment: &Moment) -> Vec<Line<'static>> {
    let Some(engine) = &moment.engine else {
        return vec![labelled(
            "Engine",
            vec![Span::styled("being restarted", WARN)],
        )];
    };
    let mut text = engine.state.clone();
    if let (Some(node), Some(runtime)) = (&engine.node, &engine.runtime) {
        text.push_str(&format!(", Node {node}, runtime {runtime}"));
    }
    let mut states: Vec<(&str, usize)> = Vec::new();
    for child in &engine.children {
        match states.iter_mut().find(|(state, _)| *state == child.state) {
            Some((_, count)) => *count += 1,
            None => states.push((&child.state, 1)),
        }
    }
    let children: Vec<String> = states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    vec![
        labelled("Engine", vec![Span::raw(text)]),
        labelled("Children", vec![Span::raw(listed(&children))]),
    ]
}

/// A group with a square a slot.
fn slots(group: &Workloop) -> Line<'static> {
    let claiming = group.pending.min(group.slots.saturating_sub(group.active));
    let free = group.slots.saturating_sub(group.active + claiming);
    let mut text = format!(
        "  {} of {} used, {}",
        group.active, group.slots, group.state
    );
    if !group.held_by.is_empty() {
        text.push_str(&format!(", held by {}", group.held_by.join(" and ")));
    }
    labelled(
        "Slots",
        vec![
            Span::raw(pad(&group.id, 14) + " "),
            Span::styled("■".repeat(group.active), BUSY),
            Span::styled("▣".repeat(claiming), WARN),
            Span::raw("□".repeat(free)),
            Span::raw(text),
        ],
    )
}

fn runs(moment: &Moment) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(
        format!("Runs in hand: {}", moment.runs.len()),
        BOLD,
    )];
    if moment.runs.is_empty() {
        return lines;
    }
    let row = |phase: &str, in_phase: &str, age: &str, run: &str, group: &str, job: &str| {
        format!(
            "{} {} {} {} {} {job}",
            pad(phase, 10),
            pad_left(in_phase, 10),
            pad_left(age, 10),
            pad(run, 36),
            pad(group, 14)
        )
    };
    lines.push(Line::styled(
        row("PHASE", "IN PHASE", "AGE", "RUN", "WORKLOOP", "JOB"),
        SOFT,
    ));
    let mut runs: Vec<_> = moment.runs.iter().collect();
    runs.sort_by(|a, b| {
        b.age_seconds
            .cmp(&a.age_seconds)
            .then_with(|| a.id.cmp(&b.id))
    });
    lines.extend(runs.into_iter().map(|run| {
        Line::raw(row(
            &run.phase,
            &duration(run.phase_seconds),
            &duration(run.age_seconds),
            &run.id,
            &run.workloop,
            run.job.as_deref().unwrap_or("–"),
        ))
    }));
    lines
}

fn problems(problems: &[Problem], now_ms: u64) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(
        format!("Last problems: {}", problems.len()),
        BOLD,
    )];
    lines.extend(problems.iter().map(|problem| {
        let ago = duration(now_ms.saturating_sub(problem.at_ms) / 1000) + " ago";
        let style = if problem.level == "error" { BAD } else { WARN };
        Line::from(vec![
            Span::raw(pad_left(&ago, 14) + "  "),
            Span::styled(pad(&problem.level, 6), style),
            Span::raw(problem.message.replace('\n', " ")),
        ])
    }));
    lines
}

fn listed(words: &[String]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

/// As the status page says it.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Columns of a text.
fn width(text: &str) -> usize {
    Span::raw(text).width()
}

fn pad(text: &str, columns: usize) -> String {
    text.to_owned() + &" ".repeat(columns.saturating_sub(width(text)))
}

fn pad_left(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(width(text))) + text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_on_the_status_page() {
        assert_eq!(
            [5, 65, 3725].map(duration),
            ["5 s", "1 min 5 s", "1 h 2 min"]
        );
    }
}

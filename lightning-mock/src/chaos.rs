//! Chaos rules: faults that come by count or by chance, reproducible by a seed.
//!
//! A rule is written `<event><when>=<fault>`:
//!
//! | part | forms |
//! | --- | --- |
//! | event | `step:complete`, `claim`, `phx_join`, `heartbeat` …; `*` for any |
//! | when | nothing: always; `@3`: the third such push; `/3`: each third; `%1.5`: 1.5 % of them, by chance; `~text`: those whose payload has this text in it |
//! | fault | see [`Fault`]: `cut-before`, `cut-after`, `lose-reply`, `ignore`, `crash`, `close`, `duplicate`, `garbage`, `error` or `error:<JSON>`, `answer:<JSON>`, `delay:<ms>`, `away:<ms>`, `database-away:<ms>`, `hang:<ms>` |
//!
//! For example `step:complete@2=cut-after`, `run:log%0.5=delay:2000`, `*%0.1=away:20000`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::Fault;

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No `=`, or nothing before it.
    #[error("{0:?} is no chaos rule: write <event><when>=<fault>, e.g. step:complete@2=cut-after")]
    Form(String),
    /// The part after the event.
    #[error(
        "{0:?} says no when: write @<n>, /<n>, %<percent> or ~<text>, with n from 1 and percent from 0 to 100"
    )]
    When(String),
    /// The part after `=`.
    #[error(
        "{0:?} is no fault: there are cut-before, cut-after, lose-reply, ignore, crash, close, duplicate, garbage, error, error:<JSON>, answer:<JSON>, delay:<ms>, away:<ms>, database-away:<ms> and hang:<ms>"
    )]
    Fault(String),
}

/// Which of an event's pushes are hit.
#[derive(Debug, Clone, PartialEq)]
enum When {
    Always,
    Nth(u64),
    Each(u64),
    /// From 0 to 1.
    Chance(f64),
    /// Those with this text in their payload.
    With(String),
}

/// One rule; see the module's documentation for how it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    event: String,
    when: When,
    fault: Fault,
    /// How many matching pushes there were.
    seen: u64,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (target, fault) = text
            .trim()
            .split_once('=')
            .ok_or_else(|| RuleError::Form(text.to_owned()))?;
        let (event, when) = match target.find(['@', '/', '%', '~']) {
            Some(place) => target.split_at(place),
            None => (target, ""),
        };
        if event.is_empty() {
            return Err(RuleError::Form(text.to_owned()));
        }
        Ok(Self {
            event: event.to_owned(),
            when: read_when(when)?,
            fault: read_fault(fault)?,
            seen: 0,
        })
    }
}

fn read_when(text: &str) -> Result<When, RuleError> {
    let wrong = || RuleError::When(text.to_owned());
    let count = |text: &str| {
        text.parse::<u64>()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(wrong)
    };
    match text.split_at_checked(1) {
        None => Ok(When::Always),
        Some(("@", rest)) => count(rest).map(When::Nth),
        Some(("/", rest)) => count(rest).map(When::Each),
        Some(("~", "")) => Err(wrong()),
        Some(("~", text)) => Ok(When::With(text.to_owned())),
        Some((_, rest)) => {
            let percent = rest
                .parse::<f64>()
                .ok()
                .filter(|percent| (0.0..=100.0).contains(percent))
                .ok_or_else(wrong)?;
            Ok(When::Chance(percent / 100.0))
        }
    }
}

fn read_fault(text: &str) -> Result<Fault, RuleError> {
    let wrong = || RuleError::Fault(text.to_owned());
    let millis = |text: &str| text.parse().map(Duration::from_millis).map_err(|_| wrong());
    match text
        .split_once(':')
        .map_or((text, None), |(name, rest)| (name, Some(rest)))
    {
        ("cut-before", None) => Ok(Fault::CutBefore),
        ("cut-after", None) => Ok(Fault::CutAfter),
        ("lose-reply", None) => Ok(Fault::LoseReply),
        ("ignore", None) => Ok(Fault::Ignore),
        ("crash", None) => Ok(Fault::Crash),
        ("close", None) => Ok(Fault::Close),
        ("duplicate", None) => Ok(Fault::Duplicate),
        ("garbage", None) => Ok(Fault::Garbage),
        ("error", None) => Ok(Fault::Refuse(
            json!({ "errors": { "chaos": ["refused by a chaos rule"] } }),
        )),
        ("error", Some(response)) => serde_json::from_str(response)
            .map(Fault::Refuse)
            .map_err(|_| wrong()),
        ("answer", Some(response)) => serde_json::from_str(response)
            .map(Fault::Answer)
            .map_err(|_| wrong()),
        ("delay", Some(text)) => millis(text).map(Fault::Delay),
        ("away", Some(text)) => millis(text).map(Fault::Away),
        ("database-away", Some(text)) => millis(text).map(Fault::DatabaseAway),
        ("hang", Some(text)) => millis(text).map(Fault::Hang),
        _ => Err(wrong()),
    }
}

/// The rules in force, and the chance that some of them need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chaos {
    rules: Vec<Rule>,
    random: SplitMix,
    struck: u64,
}

impl Chaos {
    pub(crate) fn new(rules: Vec<Rule>, seed: u64) -> Self {
        Self {
            rules,
            random: SplitMix(seed),
            struck: 0,
        }
    }

    /// The fault of the first rule that hits this push. Every rule of the event counts it, so that adding a rule does
    /// not shift the counts of another.
    pub(crate) fn strike(&mut self, event: &str, payload: &Value) -> Option<Fault> {
        let mut struck = None;
        for rule in self
            .rules
            .iter_mut()
            .filter(|rule| rule.event == "*" || rule.event == event)
        {
            rule.seen += 1;
            let hit = match &rule.when {
                When::Always => true,
                When::Nth(nth) => rule.seen == *nth,
                When::Each(each) => rule.seen.is_multiple_of(*each),
                When::Chance(chance) => self.random.next() < *chance,
                When::With(text) => payload.to_string().contains(text),
            };
            if hit && struck.is_none() {
                struck = Some(rule.fault.clone());
            }
        }
        self.struck += u64::from(struck.is_some());
        struck
    }

    /// As `GET /chaos` shows it.
    pub(crate) fn view(&self) -> Value {
        let rules: Vec<String> = self.rules.iter().map(ToString::to_string).collect();
        json!({ "rules": rules, "struck": self.struck })
    }
}

/// Steele, Lea and Flood's generator: small, and the same sequence on every machine and with every library version.
#[derive(Debug, Clone, Copy, Default)]
struct SplitMix(u64);

impl SplitMix {
    /// From 0 to below 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.event)?;
        match &self.when {
            When::Always => {}
            When::Nth(nth) => write!(f, "@{nth}")?,
            When::Each(each) => write!(f, "/{each}")?,
            When::Chance(chance) => write!(f, "%{}", chance * 100.0)?,
            When::With(text) => write!(f, "~{text}")?,
        }
        f.write_str("=")?;
        match &self.fault {
            Fault::CutBefore => f.write_str("cut-before"),
            Fault::CutAfter => f.write_str("cut-after"),
            Fault::LoseReply => f.write_str("lose-reply"),
            Fault::Ignore => f.write_str("ignore"),
            Fault::Crash => f.write_str("crash"),
            Fault::Close => f.write_str("close"),
            Fault::Duplicate => f.write_str("duplicate"),
            Fault::Garbage => f.write_str("garbage"),
            Fault::Refuse(response) => write!(f, "error:{response}"),
            Fault::Answer(response) => write!(f, "answer:{response}"),
            Fault::Delay(time) => write!(f, "delay:{}", time.as_millis()),
            Fault::Away(time) => write!(f, "away:{}", time.as_millis()),
            Fault::DatabaseAway(time) => write!(f, "database-away:{}", time.as_millis()),
            Fault::Hang(time) => write!(f, "hang:{}", time.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chaos(rules: &[&str], seed: u64) -> Chaos {
        Chaos::new(
            rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            seed,
        )
    }

    fn which(chaos: &mut Chaos, event: &str, times: usize) -> Vec<usize> {
        (1..=times)
            .filter_map(|time| chaos.strike(event, &Value::Null).map(|_| time))
            .collect()
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in [
            "step:complete@2=cut-after",
            "*%0.5=away:20000",
            "run:log/3=delay:200",
            "claim=error:{\"reason\":\"busy\"}",
            "fetch:plan=answer:{\"id\":\"r\"}",
            "phx_join=close",
            "step:start=garbage",
            "run:log~poison=crash",
            "step:start@1=database-away:3000",
            "heartbeat@2=hang:90000",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_rule_names_its_fault() {
        let error = |text: &str| text.parse::<Rule>().unwrap_err();
        assert!(matches!(error("claim"), RuleError::Form(_)));
        assert!(matches!(error("@1=crash"), RuleError::Form(_)));
        for when in ["@0", "@x", "/0", "%101", "%", "%nan", "~"] {
            assert_eq!(
                error(&format!("claim{when}=crash")),
                RuleError::When(when.to_owned())
            );
        }
        for fault in ["", "explode", "delay", "delay:x", "error:{", "crash:1"] {
            assert_eq!(
                error(&format!("claim={fault}")),
                RuleError::Fault(fault.to_owned())
            );
        }
    }

    #[test]
    fn rules_count_the_pushes_of_their_event() {
        let mut chaos = chaos(&["claim@2=crash", "run:log/3=ignore"], 0);
        assert_eq!(which(&mut chaos, "claim", 5), [2]);
        assert_eq!(which(&mut chaos, "run:log", 7), [3, 6]);
        assert!(which(&mut chaos, "step:start", 5).is_empty());
        assert_eq!(chaos.view()["struck"], 3);
    }

    #[test]
    fn a_rule_may_hit_what_says_something() {
        let mut chaos = chaos(&["run:log~poison=crash"], 0);
        let mut strikes = |text: &str| chaos.strike("run:log", &json!({ "message": [text] }));
        assert_eq!(strikes("a drop of poison"), Some(Fault::Crash));
        assert_eq!(strikes("water"), None);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let hits = |seed| which(&mut chaos(&["*%20=crash"], seed), "run:log", 1000);
        assert_eq!(hits(1), hits(1));
        assert_ne!(hits(1), hits(2));
        assert!((150..250).contains(&hits(1).len()), "{}", hits(1).len());
        assert!(which(&mut chaos(&["*%0=crash"], 1), "claim", 100).is_empty());
        assert_eq!(
            which(&mut chaos(&["*%100=crash"], 1), "claim", 100).len(),
            100
        );
    }

    #[test]
    fn the_first_rule_that_hits_wins() {
        let mut chaos = chaos(&["claim@1=crash", "*=ignore"], 0);
        assert_eq!(chaos.strike("claim", &Value::Null), Some(Fault::Crash));
        assert_eq!(chaos.strike("claim", &Value::Null), Some(Fault::Ignore));
    }
}

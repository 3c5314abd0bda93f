//! A long walk through the states of a workloop: it takes every transition of the table, and none that is not in it.

use super::tests::{answer, asking_for, claimed, claims};
use super::*;
use crate::transitions::coverage::untaken;

/// Walks of so many steps each, with groups of all kinds.
const WALKS: u64 = 3000;
const STEPS: u64 = 60;

/// A group, and what its surroundings know of it.
struct Walk {
    slots: Slots,
    /// Seed of the next number; the same walks each time.
    seed: u64,
    online: bool,
    draining: bool,
    drained: bool,
    claims: Vec<Ticket>,
    timers: Vec<u64>,
    runs: Vec<RunId>,
    next_run: u64,
}

impl Walk {
    fn new(number: u64) -> Self {
        let mut this = Self {
            slots: asking_for(1, 1),
            seed: number + 1,
            online: false,
            draining: false,
            drained: false,
            claims: Vec::new(),
            timers: Vec::new(),
            runs: Vec::new(),
            next_run: 0,
        };
        let count = 1 + u32::try_from(this.random(3)).unwrap();
        let claims = ClaimConfig {
            looping: this.random(4) > 0,
            demand: 1 + this.random_index(3),
            ..claims()
        };
        this.slots = Slots::new(count, &claims, HashSet::new());
        this
    }

    /// A number below `bound`: xorshift, for which any seed but 0 is fine.
    fn random(&mut self, bound: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 16) % bound
    }

    fn random_index(&mut self, bound: usize) -> usize {
        usize::try_from(self.random(u64::try_from(bound).unwrap())).unwrap()
    }

    fn claimed_run(&mut self) -> ClaimedRun {
        // Now and then one that is in hand.
        let id = if !self.runs.is_empty() && self.random(10) == 0 {
            self.runs[0].clone()
        } else {
            self.next_run += 1;
            RunId::new(format!("r{}", self.next_run))
        };
        ClaimedRun {
            id,
            token: "t".to_owned(),
        }
    }

    fn claimed_runs(&mut self, most: u64) -> Vec<ClaimedRun> {
        let count = self.random(most + 1);
        (0..count).map(|_| self.claimed_run()).collect()
    }

    fn event(&mut self) -> Option<Event> {
        Some(match self.random(40) {
            0 if self.draining => Event::DrainLate,
            0 => {
                self.draining = true;
                Event::Drain
            }
            1 if self.online => {
                self.online = false;
                Event::Lost
            }
            1..=6 if !self.online => {
                self.online = true;
                Event::Joined
            }
            1..=9 => Event::WorkAvailable,
            10..=19 => {
                let index =
                    (!self.claims.is_empty()).then(|| self.random_index(self.claims.len()))?;
                let ticket = self.claims.swap_remove(index);
                let runs = (self.random(4) > 0).then(|| self.claimed_runs(3));
                Event::Answered { ticket, runs }
            }
            20..=21 => Event::Inherited {
                runs: self.claimed_runs(2),
            },
            22..=24 => {
                let index =
                    (!self.claims.is_empty()).then(|| self.random_index(self.claims.len()))?;
                Event::ClaimLate {
                    ticket: self.claims[index],
                }
            }
            25..=28 => Event::TimerFired {
                timer: self.timers.pop()?,
            },
            29..=35 => {
                let index = (!self.runs.is_empty()).then(|| self.random_index(self.runs.len()))?;
                Event::SlotFreed {
                    run: self.runs.swap_remove(index),
                    taken_away: self.random(3) == 0,
                }
            }
            _ => Event::ClaimNow,
        })
    }

    fn step(&mut self) {
        if self.random(4) == 0 {
            let runs = self.random_index(5);
            self.slots.allow(runs);
        }
        if self.random(8) == 0 {
            let seconds = self.random(4);
            self.slots.answered_in(Duration::from_secs(seconds));
        }
        let Some(event) = self.event() else { return };
        for effect in self.slots.on(event) {
            match effect {
                Effect::Claim { ticket, .. } => {
                    assert!(self.online && !self.draining);
                    self.claims.push(ticket);
                }
                Effect::Arm { timer, .. } => self.timers.push(timer),
                Effect::Start(run) => self.runs.push(run.id),
                Effect::Manual { .. } => {}
                Effect::Drained => {
                    assert!(self.draining && !self.drained, "it is told once");
                    self.drained = true;
                }
            }
        }
        assert!(self.slots.active() <= self.slots.slots);
    }
}

fn walk() {
    for number in 0..WALKS {
        let mut walk = Walk::new(number);
        for _ in 0..STEPS {
            walk.step();
        }
    }
}

/// The walk does not come by here: a full group whose claim brought less than it asked for, while memory was short.
fn a_hint_finds_a_slot_that_memory_did_not_allow_before() {
    let mut slots = asking_for(2, 3);
    let first = claimed(&slots.on(Event::Joined));
    let second = claimed(&slots.on(Event::WorkAvailable));
    answer(&mut slots, first, &["a"]);
    slots.allow(2);
    answer(&mut slots, second, &["b"]);
    slots.allow(3);
    assert_eq!(slots.phase(), Phase::Full);
    claimed(&slots.on(Event::WorkAvailable));
}

#[test]
fn every_transition_of_the_table_is_taken_and_no_other() {
    let untaken = untaken::<Slots>(&[walk, a_hint_finds_a_slot_that_memory_did_not_allow_before]);
    assert!(untaken.is_empty(), "{}", untaken.join("\n"));
}

//! The waits, and what they do to a server that comes back.

use proptest::prelude::*;

use super::*;

#[test]
fn the_claim_sequence_is_that_of_the_reference() {
    let mut backoff = ClaimBackoff::parse("1/10").unwrap();
    let waits: Vec<_> = (0..20)
        .map(|_| (backoff.next().as_secs_f64() * 1000.0).round())
        .collect();
    assert_eq!(waits[..6], [1000.0, 1150.0, 1323.0, 1521.0, 1749.0, 2011.0]);
    assert_eq!(waits[16..19], [9358.0, 10_000.0, 10_000.0]);
    backoff.reset();
    assert_eq!(backoff.next(), Duration::from_secs(1));
}

#[test]
fn waits_grow_up_to_the_longest() {
    let second = Duration::from_secs(1);
    let waits = Backoff::new(second, 2.0, 5 * second);
    let seconds: Vec<_> = (0..5).map(|number| waits.after(number).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 5, 5]);
    assert_eq!(waits.after(u32::MAX), 5 * second);
    assert_eq!(Backoff::new(2 * second, 2.0, second).after(0), second);
}

#[test]
fn retries_end() {
    let second = Duration::from_secs(1);
    let retries = Retries::new(2, Backoff::new(second, 2.0, 5 * second));
    assert_eq!(retries.after(1), Some(2 * second));
    assert_eq!(retries.after(2), None);
    assert_eq!(retries.waits().collect::<Vec<_>>(), [second, 2 * second]);
}

#[test]
fn nonsense_is_refused_by_name() {
    for (text, error) in [
        ("5", "\"5\" is not of the form min/max"),
        ("0/1", "\"0\" is not a positive number of seconds"),
        ("-1/1", "\"-1\" is not a positive number of seconds"),
        ("1/NaN", "\"NaN\" is not a positive number of seconds"),
        ("1/inf", "\"inf\" is not a positive number of seconds"),
        ("2/1", "the minimum (2 s) is larger than the maximum (1 s)"),
    ] {
        assert_eq!(ClaimBackoff::parse(text).unwrap_err().to_string(), error);
    }
}

#[test]
fn reconnecting_begins_within_a_second_and_slows_down_to_five_or_ten() {
    for (obstacle, longest) in [
        (Obstacle::Unreachable, 5000),
        (Obstacle::TurnedAway, 10_000),
    ] {
        let mut backoff = ReconnectBackoff::default();
        let waits: Vec<_> = (0..30)
            .map(|_| backoff.next(obstacle, 1.0).as_millis())
            .collect();
        assert_eq!(waits[..5], [1000, 1000, 1100, 1210, 1331]);
        assert_eq!(waits[29], longest);
        assert_eq!(backoff.next(obstacle, 0.0).as_millis(), longest / 2);
        backoff.reset();
        assert_eq!(backoff.next(obstacle, 0.0), Duration::ZERO);
    }
}

#[test]
fn nonsense_is_no_backoff() {
    let second = Duration::from_secs(1);
    assert!(ClaimBackoff::try_new(Duration::ZERO, second).is_err());
    assert_eq!(jittered(second, f64::NAN), second);
    assert_eq!(jittered(second, -1.0), second / 2);
}

/// Steele, Lea and Flood's generator, so that the outages are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap();
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

/// How long after its return so many workers find a server that was away for so long, sorted.
fn found(workers: usize, away: Duration, obstacle: Obstacle, random: &mut Random) -> Vec<Duration> {
    let mut found: Vec<_> = (0..workers)
        .map(|_| {
            let mut backoff = ReconnectBackoff::default();
            let mut now = Duration::ZERO;
            while now < away {
                now += backoff.next(obstacle, random.next());
            }
            now - away
        })
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn a_server_that_was_away_for_five_seconds_is_found_within_a_second() {
    for obstacle in [Obstacle::Unreachable, Obstacle::TurnedAway] {
        let found = found(1000, Duration::from_secs(5), obstacle, &mut Random(1));
        let (median, p90) = (found[500], found[900]);
        assert!(median < Duration::from_millis(700), "median {median:?}");
        assert!(p90 < Duration::from_millis(1200), "p90 {p90:?}");
    }
}

#[test]
fn a_hundred_workers_that_lost_the_same_server_do_not_come_back_in_one_instant() {
    const WINDOW: Duration = Duration::from_millis(100);
    let mut random = Random(2);
    let crowd = |away: Duration, random: &mut Random| {
        let found = found(100, away, Obstacle::Unreachable, random);
        let within = |from: Duration| {
            let window = from..from + WINDOW;
            found
                .iter()
                .copied()
                .filter(|at| window.contains(at))
                .count()
        };
        found.iter().copied().map(within).max().unwrap_or_default()
    };
    // A connection that was cut, a restart, outages of seconds and of minutes.
    for away in [1, 200, 1000, 5000, 60_000, 600_000] {
        let most = (0..50)
            .map(|_| crowd(Duration::from_millis(away), &mut random))
            .max()
            .unwrap_or_default();
        assert!(
            most <= 30,
            "{most} of 100 within {WINDOW:?} after {away} ms"
        );
    }
}

#[test]
fn an_outage_of_minutes_does_not_end_in_a_long_wait() {
    let mut random = Random(3);
    for (obstacle, longest) in [(Obstacle::Unreachable, 5), (Obstacle::TurnedAway, 10)] {
        for minutes in [2, 10, 30] {
            let away = Duration::from_secs(60 * minutes);
            let worst = found(1000, away, obstacle, &mut random)[999];
            assert!(worst <= Duration::from_secs(longest), "{worst:?}");
        }
    }
}

#[test]
fn the_longest_waits_do_not_overflow() {
    let mut backoff = ClaimBackoff::parse("1.7e19/1.8e19").unwrap();
    backoff.next();
    assert_eq!(backoff.next(), backoff.max());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in ".*") {
        if let Ok(mut backoff) = ClaimBackoff::parse(&text) {
            prop_assert!(backoff.next() >= backoff.min());
            prop_assert!(backoff.next() <= backoff.max());
        }
    }
}

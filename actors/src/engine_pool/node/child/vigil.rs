//! What an engine child may take while it waits for its run. What an adaptor starts when it is loaded ahead goes on, and no run's
//! limits hold it then.

use std::time::{Duration, Instant};

use sandbox::Survey;

/// How often an idle child is looked at: seldom, for it costs a read of all of its mappings.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// What it may have more than when it was fresh. Adaptors that are loaded ahead take up to a hundred megabytes.
const MORE_BYTES: u64 = 256 << 20;
/// The C library and libuv start up to four threads when they are first needed.
const MORE_THREADS: u64 = 12;
const MORE_DESCRIPTORS: u64 = 48;
/// What counts as fresh at most. A run may begin before its child was looked at for the first time, and would widen its own bounds.
const FRESH_BYTES: u64 = 256 << 20;
const FRESH_THREADS: u64 = 48;
const FRESH_DESCRIPTORS: u64 = 96;

/// CPU time that loading may take: far above what it takes, a tenth of a second to two.
const CPU_OF_LOADING: Duration = Duration::from_secs(3);
/// The part of a core that it may use beyond that. An idle child uses none: measured over 40 s, not one tick of 10 ms.
const IDLE_CPU: f64 = 0.02;

/// Watches one child.
#[derive(Debug, Default)]
pub(super) struct Vigil {
    /// When it had answered, and no job had been in it.
    fresh: Option<Survey>,
    /// When it was first looked at in this time of having nothing to do, and the CPU time that it had had by then.
    since: Option<(Instant, Duration)>,
}

impl Vigil {
    /// The child has answered.
    pub(super) fn begin(&mut self, fresh: Option<Survey>) {
        self.fresh = fresh;
    }

    /// It was given something to do.
    pub(super) fn interrupt(&mut self) {
        self.since = None;
    }

    /// What it takes too much of, now that it has nothing to do.
    pub(super) fn look(&mut self, now: Instant, found: &Survey) -> Option<String> {
        let (begun, before) = *self.since.get_or_insert((now, found.cpu));
        let spent = found.cpu.saturating_sub(before);
        let elapsed = now.saturating_duration_since(begun);
        if spent > CPU_OF_LOADING + elapsed.mul_f64(IDLE_CPU) {
            return Some(format!(
                "it has used {:.1} s of CPU in {:.0} s",
                spent.as_secs_f64(),
                elapsed.as_secs_f64()
            ));
        }
        if found.files.count > 0 {
            return Some(format!("it holds {} files", found.files.count));
        }
        let fresh = self.fresh.as_ref()?;
        if found.usage.is_hidden() {
            return Some("it hides its size".to_owned());
        }
        let most = fresh.usage.resident.unwrap_or_default().min(FRESH_BYTES) + MORE_BYTES;
        let resident = found.usage.resident.unwrap_or_default();
        let resident = resident.saturating_add(found.files.queued);
        if resident > most {
            return Some(format!("it has grown to {} MiB", resident >> 20));
        }
        let most = fresh.usage.threads.min(FRESH_THREADS) + MORE_THREADS;
        if found.usage.threads > most {
            return Some(format!("it has {} threads", found.usage.threads));
        }
        let before = fresh.descriptors?;
        let Some(descriptors) = found.descriptors else {
            return Some("it hides its descriptors".to_owned());
        };
        let most = before.min(FRESH_DESCRIPTORS) + MORE_DESCRIPTORS;
        (descriptors > most).then(|| format!("it has {descriptors} descriptors open"))
    }
}

#[cfg(test)]
mod tests {
    use sandbox::{Files, Usage};

    use super::*;

    /// An idle child as measured.
    const FRESH: Survey = Survey {
        usage: Usage {
            resident: Some(70 << 20),
            threads: 12,
        },
        cpu: Duration::from_millis(500),
        descriptors: Some(24),
        files: Files {
            bytes: 0,
            count: 0,
            queued: 0,
        },
    };

    /// What a child that had become like this is found to take too much of, five seconds after it was fresh and idle.
    fn found(change: impl FnOnce(&mut Survey)) -> Option<String> {
        let mut vigil = Vigil::default();
        vigil.begin(Some(FRESH));
        let begun = Instant::now();
        assert_eq!(vigil.look(begun, &FRESH), None);
        let mut survey = FRESH;
        change(&mut survey);
        vigil.look(begun + LOOK, &survey)
    }

    #[test]
    fn a_child_that_loads_large_adaptors_is_fine() {
        assert_eq!(
            found(|survey| {
                survey.usage.resident = Some(300 << 20);
                survey.usage.threads += 6;
                survey.descriptors = Some(60);
                survey.cpu += Duration::from_secs(3);
            }),
            None
        );
    }

    #[test]
    fn what_goes_on_in_an_idle_child_is_seen() {
        let said = |change: fn(&mut Survey)| found(change).unwrap_or_default();
        let cpu = |survey: &mut Survey| survey.cpu += Duration::from_millis(4900);
        assert_eq!(said(cpu), "it has used 4.9 s of CPU in 5 s");
        let size = |survey: &mut Survey| survey.usage.resident = Some(400 << 20);
        assert_eq!(said(size), "it has grown to 400 MiB");
        let hides = |survey: &mut Survey| survey.usage.resident = None;
        assert_eq!(said(hides), "it hides its size");
        let threads = |survey: &mut Survey| survey.usage.threads = 40;
        assert_eq!(said(threads), "it has 40 threads");
        let open = |survey: &mut Survey| survey.descriptors = Some(200);
        assert_eq!(said(open), "it has 200 descriptors open");
        let closed = |survey: &mut Survey| survey.descriptors = None;
        assert_eq!(said(closed), "it hides its descriptors");
        let files = |survey: &mut Survey| survey.files.count = 1;
        assert_eq!(said(files), "it holds 1 files");
    }

    #[test]
    fn a_little_cpu_is_too_much_in_the_end_unless_there_was_something_to_do() {
        let mut vigil = Vigil::default();
        let begun = Instant::now();
        let look = |vigil: &mut Vigil, looks: u32| {
            let mut survey = FRESH;
            // A tenth of a core.
            survey.cpu += LOOK * looks / 10;
            vigil.look(begun + LOOK * looks, &survey)
        };
        assert_eq!(look(&mut vigil, 0), None);
        assert_eq!(look(&mut vigil, 7), None);
        vigil.interrupt();
        assert_eq!(look(&mut vigil, 8), None);
        assert!(look(&mut vigil, 16).is_some());
    }

    #[test]
    fn a_run_does_not_widen_its_own_bounds() {
        let mut vigil = Vigil::default();
        let mut large = FRESH;
        large.usage.resident = Some(2 << 30);
        vigil.begin(Some(large));
        assert!(vigil.look(Instant::now(), &large).is_some());
    }
}

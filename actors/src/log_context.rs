//! For which run a task works, so that the log says so on every line, however deep it is written.

use std::future::Future;

use protocol::ids::RunId;

tokio::task_local! {
    static RUN: RunId;
}

/// Does `work` for this run, or for none.
pub(crate) async fn on_behalf_of<F: Future>(run: Option<RunId>, work: F) -> F::Output {
    match run {
        Some(run) => RUN.scope(run, work).await,
        None => work.await,
    }
}

/// The run that the present task works for; for the logger, which names it on lines that do not themselves.
pub fn run_at_work() -> Option<RunId> {
    RUN.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_task_knows_for_which_run_it_works() {
        let run = RunId::new("run-1");
        let here = || async { run_at_work() };
        assert_eq!(on_behalf_of(Some(run.clone()), here()).await, Some(run));
        assert_eq!(on_behalf_of(None, here()).await, None);
        assert_eq!(run_at_work(), None);
    }
}

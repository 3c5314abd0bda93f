//! What an operator is told of a child.

use log_events::{Detail, LogEvent};
use protocol::ids::RunId;

use super::EngineChild;

impl EngineChild {
    pub(super) fn complain(&self, event: &'static LogEvent, run: Option<&RunId>, what: String) {
        let pid = self.pid();
        let text = format!("engine child {pid}: {what}");
        let fields = [
            ("pid", Detail::from(u64::from(pid))),
            ("run_id", run.map(RunId::as_str).into()),
            ("error", what.into()),
        ];
        event.log(module_path!(), &fields, &text);
    }
}

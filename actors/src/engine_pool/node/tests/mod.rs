//! The pool with real processes: children of a small program that misbehaves on request.

mod installer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{ExecuteOptions, RunProgress};
use protocol::ids::{ProjectId, RunId, WorkloopId};
use protocol::plan::{ConvertOptions, LightningPlan, convert};
use protocol::workloop::Workloop;
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};

use super::child::EngineChild;
use crate::config::{
    AllowedSources, EgressRules, EngineConfig, MemoryEnforcement, NodeConfig, Reuse, SandboxMode,
};
use crate::engine_pool::messages::{
    EngineEvent, Execute, GetEngineStatus, Prepare, PrepareError, Prepared, Proceed, StopEngine,
    StopJob,
};
use crate::engine_pool::{EngineFailed, EnginePool};
use crate::events::Panic;
use crate::metrics::Metrics;
use crate::tell::Tell as _;

const FAKE_ENGINE: &str = include_str!("fake_engine.mjs");

/// Long enough for a slow machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    home: TempDir,
    pool: Addr<EnginePool>,
    failures: mpsc::UnboundedReceiver<String>,
}

/// Passes on what a run, or the supervisor, would hear.
struct Ear<T>(mpsc::UnboundedSender<T>);

impl<T: Unpin + 'static> Actor for Ear<T> {
    type Context = Context<Self>;
}

impl Handler<EngineEvent> for Ear<EngineEvent> {
    type Result = ();

    fn handle(&mut self, event: EngineEvent, _: &mut Self::Context) {
        self.0.send(event).unwrap();
    }
}

impl Handler<EngineFailed> for Ear<String> {
    type Result = ();

    fn handle(&mut self, event: EngineFailed, _: &mut Self::Context) {
        self.0.send(event.why).unwrap();
    }
}

struct Heard {
    events: mpsc::UnboundedReceiver<EngineEvent>,
    budget: Arc<Semaphore>,
}

impl Heard {
    async fn next(&mut self) -> EngineEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("an open channel")
    }

    /// Everything up to the end of the run, each in one word or as its error's type and message.
    async fn all(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let word = match self.next().await.progress {
                RunProgress::WorkflowStart { .. } => "started".to_owned(),
                RunProgress::Log { message, .. } => String::from_utf8(message.to_vec()).unwrap(),
                RunProgress::JobStart { job, .. } => format!("start {job}"),
                RunProgress::JobComplete { step, .. } => format!("complete {}", step.job),
                RunProgress::JobError { step, .. } => format!("error {}", step.job),
                RunProgress::WorkflowComplete { .. } => "over".to_owned(),
                RunProgress::WorkflowError { error } => {
                    format!(
                        "{}: {}",
                        error.error_type.unwrap_or_default(),
                        error.message.unwrap_or_default()
                    )
                }
                RunProgress::Ended => {
                    assert!(self.events.try_recv().is_err(), "nothing follows the end");
                    return told;
                }
            };
            told.push(word);
        }
    }
}

fn node_config(home: &Path) -> NodeConfig {
    NodeConfig {
        node: "node".into(),
        engine_dir: Some(home.to_owned()),
        cache_dir: home.join("cache"),
        repo_dir: home.join("repo"),
        repo_lock: true,
        adaptor_sources: AllowedSources::default(),
        monorepo_dir: None,
        preload: Vec::new(),
        warm: 1,
        reuse: Reuse::Project,
        sandbox: SandboxMode::Auto,
        memory_enforcement: MemoryEnforcement::Heap,
        validation_timeout: PATIENCE,
        validation_retries: 0,
        egress: EgressRules::default(),
        state_props_to_remove: vec!["configuration".to_owned()],
        profile: None,
    }
}

impl World {
    fn new() -> Self {
        Self::with(FAKE_ENGINE, |_| {})
    }

    fn with(program: &str, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let runtime = home.path().join("node_modules/@openfn/runtime");
        std::fs::create_dir_all(&runtime).unwrap();
        std::fs::create_dir_all(home.path().join("repo")).unwrap();
        std::fs::write(runtime.join("package.json"), "{}").unwrap();
        std::fs::write(home.path().join("main.mjs"), program).unwrap();
        let mut node = node_config(home.path());
        change(&mut node);
        let (sender, failures) = mpsc::unbounded_channel();
        let failed = Ear(sender).start().recipient();
        let capacity = Workloop::from_capacity(2).slots;
        let pool = EnginePool::with_engine(EngineConfig::Node(node), capacity, Metrics::default())
            .reporting_to(failed)
            .start();
        Self {
            home,
            pool,
            failures,
        }
    }

    fn execute(&self, run: &str, project: &str, change: impl FnOnce(&mut ExecuteOptions)) -> Heard {
        let (sender, events) = mpsc::unbounded_channel();
        let plan = LightningPlan::from_json(
            r#"{"id":"w","jobs":[{"id":"a","body":"x"},{"id":"b","body":"x"}]}"#,
        )
        .unwrap();
        let plan = convert(plan, &ConvertOptions::default(), &mut String::new)
            .unwrap()
            .plan;
        let mut options = ExecuteOptions {
            timeout: None,
            memory_limit_mb: 500.0,
            state_limit_mb: 500.0,
            payload_limit_mb: 10.0,
            log_payload_limit_mb: 1.0,
            job_log_level: "debug".to_owned(),
            sanitize: "none".to_owned(),
            output_dataclips: true,
        };
        change(&mut options);
        let budget = Arc::new(Semaphore::new(64 * 1024));
        self.pool.tell(Execute {
            run_id: RunId::new(run),
            workloop: WorkloopId::new("w"),
            project_id: Some(ProjectId::new(project)),
            plan: plan.into(),
            input: Bytes::new(),
            options,
            events: Ear(sender).start().recipient(),
            budget: Arc::clone(&budget),
        });
        self.pool.tell(Proceed {
            run_id: RunId::new(run),
        });
        Heard { events, budget }
    }

    /// What a run without adaptors gets before it is executed.
    async fn prepare(&self, run: &str) -> Result<Prepared, PrepareError> {
        let plan = LightningPlan::from_json(r#"{"id":"w","jobs":[{"id":"a","body":"x"}]}"#);
        let plan = convert(plan.unwrap(), &ConvertOptions::default(), &mut String::new)
            .unwrap()
            .plan;
        let run_id = RunId::new(run);
        self.pool
            .send(Prepare {
                run_id,
                plan: plan.into(),
            })
            .await
            .unwrap()
    }

    async fn told(&self, run: &str) -> Vec<String> {
        self.execute(run, "p", |_| {}).all().await
    }

    /// Waits until the first child has answered.
    async fn ready(&self) {
        let poll = async {
            while self.pool.send(GetEngineStatus).await.unwrap().state != "ready" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, poll)
            .await
            .expect("an engine in time");
    }

    async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.pool.send(StopEngine))
            .await
            .expect("children end")
            .unwrap();
        assert_eq!(
            self.pool
                .send(GetEngineStatus)
                .await
                .unwrap()
                .children
                .len(),
            0
        );
        drop(self.home);
    }
}

fn pid(told: &[String]) -> &str {
    told.iter()
        .find(|word| word.starts_with("[\"pid\""))
        .unwrap()
}

#[actix_rt::test]
async fn a_good_run_is_told_in_order_and_ends_once() {
    let world = World::new();
    world.ready().await;
    let told = world.told("good").await;
    let words: Vec<_> = told
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('['))
        .collect();
    assert_eq!(words, ["started", "start a", "complete a", "over"]);
    world.stop().await;
}

#[actix_rt::test]
async fn children_that_break_the_protocol_are_killed_and_the_next_run_works() {
    let world = World::new();
    world.ready().await;
    for run in ["garbage", "giant", "stranger", "forger", "unknown", "warms"] {
        let told = world.told(run).await;
        assert!(
            told.last()
                .unwrap()
                .starts_with("EngineProtocolError: the engine child broke the protocol"),
            "{run}: {told:?}"
        );
        assert!(
            world
                .told(&format!("good-after-{run}"))
                .await
                .contains(&"over".to_owned())
        );
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_second_completion_is_not_believed() {
    let world = World::new();
    world.ready().await;
    let told = world.told("twice").await;
    assert_eq!(told, ["started", "start a", "complete a", "over"]);
    assert!(world.told("good").await.contains(&"over".to_owned()));
    world.stop().await;
}

#[actix_rt::test]
async fn a_child_that_dies_ends_its_run_as_what_killed_it() {
    let world = World::new();
    world.ready().await;
    for (run, end) in [
        ("dies", "ExitError: Process exited with code: null"),
        ("leaves", "ExitError: Process exited with code: 7"),
        ("oom", "OOMError: Run exceeded maximum memory usage"),
        // Job code can write what V8 writes.
        ("shouts", "ExitError: Process exited with code: 7"),
        ("thread", "ExitError: Worker thread exited with code: 3"),
    ] {
        assert_eq!(world.told(run).await, ["started", "start a", end], "{run}");
        assert!(
            world
                .told(&format!("good-after-{run}"))
                .await
                .contains(&"over".to_owned())
        );
    }
    world.stop().await;
}

#[actix_rt::test]
async fn what_one_run_wrote_to_stderr_is_no_evidence_about_the_next() {
    let world = World::new();
    world.ready().await;
    let first = world.told("mutters").await;
    assert!(first.contains(&"over".to_owned()), "{first:?}");
    assert_eq!(
        world.told("aborts").await,
        [
            "started",
            "start a",
            "ExitError: Process exited with code: null"
        ]
    );
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_over_its_time_is_stopped_also_when_the_child_is_deaf() {
    let world = World::new();
    world.ready().await;
    for run in ["waits", "deaf"] {
        let timeout = Some(Duration::from_millis(300));
        let told = world
            .execute(run, "p", |options| options.timeout = timeout)
            .all()
            .await;
        assert_eq!(
            told.last().unwrap(),
            "TimeoutError: Workflow failed to return within 300ms"
        );
    }
    assert!(world.told("good").await.contains(&"over".to_owned()));
    world.stop().await;
}

#[actix_rt::test]
async fn a_job_reaches_nothing_of_the_machine() {
    let world = World::new();
    world.ready().await;
    let told = world.told("escapes").await;
    let attempts: Vec<_> = told.iter().filter(|word| word.starts_with('[')).collect();
    assert_eq!(
        attempts,
        [
            r#"["read /etc/passwd","EACCES"]"#,
            r#"["read the worker's environment","EACCES"]"#,
            r#"["read the worker's memory","EACCES"]"#,
            r#"["list /proc","EACCES"]"#,
            r#"["list the temporary folder","EACCES"]"#,
            r#"["write into the repository","EACCES"]"#,
            r#"["write into the engine","EACCES"]"#,
            r#"["write into its own folder","ok"]"#,
            r#"["start a shell","EPERM"]"#,
            r#"["start itself again","EPERM"]"#,
            r#"["signal the worker","EPERM"]"#,
            r#"["measure its memory","ok"]"#,
            r#"["see a variable of the worker","ok"]"#,
        ]
    );
    world.stop().await;
}

#[actix_rt::test]
async fn what_a_run_wrote_is_not_there_for_the_next_one() {
    let world = World::new();
    world.ready().await;
    let first = world.told("writes-1").await;
    let second = world.told("writes-2").await;
    assert_eq!(first[2], r#"["files","0"]"#);
    assert_eq!(second[2], r#"["files","0"]"#);
    let folder: String = serde_json::from_str::<Vec<String>>(&first[3])
        .unwrap()
        .remove(1);
    world.stop().await;
    assert!(!Path::new(&folder).exists());
}

#[actix_rt::test]
async fn memory_outside_the_heap_is_limited_too_and_the_run_is_told_before() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("buffers", "p", |options| options.memory_limit_mb = 100.0);
    let told = heard.all().await;
    assert_eq!(
        told.last().unwrap(),
        "OOMError: Run exceeded maximum memory usage"
    );
    let warnings = told
        .iter()
        .filter(|word| word.contains("90% of its memory limit of 100mb"))
        .count();
    assert!(warnings <= 1, "{told:?}");
    assert!(world.told("good").await.contains(&"over".to_owned()));
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_is_told_once_that_its_time_is_nearly_over() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("waits", "p", |options| {
        options.timeout = Some(Duration::from_millis(500));
    });
    let told = heard.all().await;
    let warnings: Vec<_> = told.iter().filter(|word| word.contains("90%")).collect();
    assert_eq!(
        warnings,
        [r#"["This run has used 90% of its time limit of 0.5s"]"#]
    );
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_does_not_notice_that_its_child_had_died_while_it_was_idle() {
    let world = World::new();
    world.ready().await;
    for number in 0..20 {
        for child in world.pool.send(GetEngineStatus).await.unwrap().children {
            let pid = child
                .pid
                .and_then(|pid| i32::try_from(pid).ok())
                .map(nix::unistd::Pid::from_raw);
            if let Some(pid) = pid {
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            }
        }
        let told = world.told(&format!("good-{number}")).await;
        assert!(told.contains(&"over".to_owned()), "{told:?}");
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_whose_loading_kills_its_child_ends_after_three() {
    let world = World::new();
    world.ready().await;
    let told = world.execute("loading", "p", |_| {}).all().await;
    assert_eq!(
        told,
        ["ExitError: three engine children died while they loaded the run"]
    );
    assert!(world.told("good").await.contains(&"over".to_owned()));
    world.stop().await;
}

#[actix_rt::test]
async fn a_stopped_job_just_ends() {
    let world = World::new();
    world.ready().await;
    for run in ["waits", "deaf"] {
        let mut heard = world.execute(run, "p", |_| {});
        while !matches!(heard.next().await.progress, RunProgress::JobStart { .. }) {}
        world.pool.tell(StopJob {
            run_id: RunId::new(run),
        });
        assert!(heard.all().await.is_empty());
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_child_serves_one_project_only() {
    let world = World::new();
    world.ready().await;
    let first = world.execute("good-1", "one", |_| {}).all().await;
    let other = world.execute("good-2", "two", |_| {}).all().await;
    let again = world.execute("good-3", "one", |_| {}).all().await;
    assert_ne!(pid(&first), pid(&other));
    assert_eq!(pid(&first), pid(&again));
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_goes_to_the_child_that_has_been_idle_longest() {
    let world = World::new();
    world.ready().await;
    let mut waits = world.execute("waits", "p", |_| {});
    let first = world.told("good-1").await;
    while !matches!(waits.next().await.progress, RunProgress::JobStart { .. }) {}
    world.pool.tell(StopJob {
        run_id: RunId::new("waits"),
    });
    waits.all().await;
    let second = world.told("good-2").await;
    let third = world.told("good-3").await;
    assert_eq!(pid(&first), pid(&second));
    assert_ne!(pid(&second), pid(&third));
    world.stop().await;
}

#[actix_rt::test]
async fn a_run_goes_to_a_child_with_a_warm_thread_before_others() {
    let world = World::new();
    world.ready().await;
    let mut warms = world.execute("waits-warms", "p", |_| {});
    let first = world.told("good-1").await;
    while !matches!(warms.next().await.progress, RunProgress::JobStart { .. }) {}
    world.pool.tell(StopJob {
        run_id: RunId::new("waits-warms"),
    });
    warms.all().await;
    let is_warm = async || {
        let status = world.pool.send(GetEngineStatus).await.unwrap();
        status.children.iter().any(|child| child.warm)
    };
    let poll = async {
        while !is_warm().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll)
        .await
        .expect("a warm child");
    // The other one has been idle for longer.
    let second = world.told("good-2").await;
    assert_ne!(pid(&first), pid(&second));
    assert!(!is_warm().await, "its thread is used");
    world.stop().await;
}

#[actix_rt::test]
async fn one_process_a_run_where_that_is_asked_for() {
    let world = World::with(FAKE_ENGINE, |node| node.reuse = Reuse::Never);
    world.ready().await;
    let first = world.told("good-1").await;
    let second = world.told("good-2").await;
    assert_ne!(pid(&first), pid(&second));
    world.stop().await;
}

#[actix_rt::test]
async fn more_projects_than_slots_share_a_bounded_number_of_children() {
    let world = World::new();
    world.ready().await;
    for number in 0..6 {
        let told = world
            .execute(
                &format!("good-{number}"),
                &format!("project-{number}"),
                |_| {},
            )
            .all()
            .await;
        assert!(told.contains(&"over".to_owned()));
        let living = world.pool.send(GetEngineStatus).await.unwrap().children;
        let living = living.iter().filter(|child| child.state != "dying").count();
        assert!(living <= 3, "{living} children for two slots");
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_job_waits_while_the_outbox_is_full_and_no_line_is_lost() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("flood", "p", |_| {});
    let mut held = Vec::new();
    let mut lines = 0;
    loop {
        let event = heard.next().await;
        if matches!(event.progress, RunProgress::Ended) {
            break;
        }
        lines += usize::from(matches!(event.progress, RunProgress::Log { .. }));
        held.push(event);
        if heard.budget.available_permits() < 512 {
            // The outbox is full: what arrives from here on was let in by what is given back here.
            held.clear();
        }
    }
    assert_eq!(lines, 1000);
    world.stop().await;
}

impl Handler<Panic> for EngineChild {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("a child was asked to panic by a test");
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct PanicChild {
    run: RunId,
}

impl Handler<PanicChild> for EnginePool {
    type Result = ();

    fn handle(&mut self, message: PanicChild, _: &mut Self::Context) {
        let engine = self.engine().as_node().unwrap();
        engine.children.child_of(&message.run).unwrap().tell(Panic);
    }
}

#[actix_rt::test]
async fn children_die_with_their_pool() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("deaf", "p", |_| {});
    while !matches!(heard.next().await.progress, RunProgress::JobStart { .. }) {}
    let children = world.pool.send(GetEngineStatus).await.unwrap().children;
    let pids: Vec<_> = children.into_iter().filter_map(|child| child.pid).collect();
    assert!(!pids.is_empty());
    assert!(world.pool.send(Panic).await.is_err());
    let gone = async {
        while pids
            .iter()
            .any(|pid| Path::new(&format!("/proc/{pid}")).exists())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("children die with their pool");
}

#[actix_rt::test]
async fn a_node_that_is_too_old_is_reported() {
    let program = FAKE_ENGINE.replace("node: process.versions.node", "node: \"18.20.4\"");
    let mut world = World::with(&program, |_| {});
    let why = tokio::time::timeout(PATIENCE, world.failures.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(why, "Node 18.20.4 is too old: 20 or newer is needed");
}

#[actix_rt::test]
async fn a_run_is_not_prepared_where_the_engine_cannot_do_what_it_was_asked_for() {
    if sandbox::Cgroups::find(MemoryEnforcement::Cgroup).is_ok() {
        // Here it can.
        return;
    }
    let mut world = World::with(FAKE_ENGINE, |node| {
        node.memory_enforcement = MemoryEnforcement::Cgroup;
    });
    let refused = world.prepare("r").await.unwrap_err();
    assert_eq!(refused.to_string(), world.failures.recv().await.unwrap());
    assert_eq!(refused.error_type(), "ExecutionError");
    let told = world.told("r").await;
    assert_eq!(told, [format!("ExecutionError: {refused}")]);
    world.stop().await;
}

#[actix_rt::test]
async fn an_engine_that_cannot_start_is_reported() {
    let mut world = World::with("process.exit(3);", |_| {});
    let why = tokio::time::timeout(PATIENCE, world.failures.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(why.contains("exit status: 3"), "{why}");
    let refused = world.prepare("r").await.unwrap_err();
    assert_eq!(refused.to_string(), why);
}

#[actix_rt::test]
async fn a_child_whose_actor_panics_ends_its_run_and_is_replaced() {
    let world = World::new();
    world.ready().await;
    let mut heard = world.execute("waits", "p", |_| {});
    while !matches!(heard.next().await.progress, RunProgress::JobStart { .. }) {}
    world.pool.tell(PanicChild {
        run: RunId::new("waits"),
    });
    assert_eq!(
        heard.all().await,
        ["EngineLost: the engine child that executed the run was lost"]
    );
    assert!(world.told("good").await.contains(&"over".to_owned()));
    world.stop().await;
}

#[actix_rt::test]
async fn a_node_that_is_missing_is_reported() {
    let mut world = World::with(FAKE_ENGINE, |node| node.node = "/nonexistent/node".into());
    let why = tokio::time::timeout(PATIENCE, world.failures.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(why.contains("/nonexistent/node cannot be started"), "{why}");
}

//! The pool's adaptor installer: what it knows after it has died.

use super::*;
use crate::engine_pool::Prepare;
use crate::engine_pool::installer::AdaptorInstaller;
use crate::engine_pool::node::NodeEngine;
use crate::tell::Tell as _;

/// In the place of the engine's bundler: every adaptor has a bundle at once.
const BUNDLER: &str = r#"
import fs from "node:fs";
const target = process.argv[4];
fs.mkdirSync(target, { recursive: true });
fs.writeFileSync(`${target}/bundle.json`, "{}");
"#;

#[derive(Message)]
#[rtype(result = "()")]
struct PanicInstaller;

impl Handler<PanicInstaller> for EnginePool {
    type Result = ();

    fn handle(&mut self, _: PanicInstaller, _: &mut Self::Context) {
        let engine = self.engine::<NodeEngine>().unwrap();
        engine.installer.as_ref().unwrap().tell(Panic);
    }
}

impl Handler<Panic> for AdaptorInstaller {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("the installer was asked to panic by a test");
    }
}

/// Puts an adaptor into the repository, as npm would.
fn install(home: &Path, name: &str) {
    let repository = home.join("repo");
    let folder = repository.join(format!("node_modules/@openfn/{name}_1.0.0"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("package.json"), "{}").unwrap();
    let manifest = format!(r#"{{"dependencies":{{"@openfn/{name}_1.0.0":"1.0.0"}}}}"#);
    std::fs::write(repository.join("package.json"), manifest).unwrap();
}

async fn prepare(world: &World, name: &str) {
    let plan = format!(
        r#"{{"id":"w","jobs":[{{"id":"a","body":"x","adaptor":"@openfn/{name}@1.0.0"}}]}}"#
    );
    let plan = LightningPlan::from_json(&plan).unwrap();
    let plan = convert(plan, &ConvertOptions::default(), &mut String::new)
        .unwrap()
        .plan;
    let run_id = RunId::new("r");
    let prepared = world
        .pool
        .send(Prepare {
            run_id,
            plan: plan.into(),
            traces: crate::traces::Traces::default(),
        })
        .await
        .unwrap();
    prepared.unwrap();
}

/// Waits until the repository has as many bundles.
async fn bundled(home: &Path, wanted: usize) {
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let poll = async {
        loop {
            let versions = names(&home.join("repo/bundles"));
            let bundles = versions.iter().flat_map(|version| names(version));
            if bundles
                .filter(|bundle| bundle.join("bundle.json").is_file())
                .count()
                == wanted
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll)
        .await
        .expect("a bundle in time");
}

#[actix_rt::test]
async fn an_installer_that_replaces_a_dead_one_knows_the_engine() {
    let world = World::new();
    std::fs::write(world.home.path().join("bundle.mjs"), BUNDLER).unwrap();
    world.ready().await;
    install(world.home.path(), "before");
    prepare(&world, "before").await;
    bundled(world.home.path(), 1).await;
    world.pool.send(PanicInstaller).await.unwrap();
    install(world.home.path(), "after");
    prepare(&world, "after").await;
    bundled(world.home.path(), 2).await;
    world.stop().await;
}

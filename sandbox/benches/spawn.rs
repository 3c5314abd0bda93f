//! What starting a confined process costs: `cargo bench -p sandbox [-- PROGRAM ARGUMENTS...]`, `/bin/true` without one.
//! Plain and confined in turns, so that whatever else the machine does meets both alike.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "figures for whoever runs it; one that cannot go on has failed"
)]

use std::time::{Duration, Instant};

use sandbox::{Confinement, Limits, Network, Processes, Root, SandboxMode, Spec, locate, output};

const TIMES: usize = 300;

fn main() {
    let given: Vec<_> = std::env::args()
        .skip(1)
        .filter(|text| text != "--bench")
        .collect();
    let program = given.first().map_or("true", String::as_str);
    let program = locate(program.as_ref(), std::env::var_os("PATH").as_deref()).unwrap();
    let root = Root::create().unwrap();
    let spec = |mode| Spec {
        program: program.clone(),
        args: given.iter().skip(1).map(Into::into).collect(),
        env: Vec::new(),
        current_dir: "/".into(),
        sockets: true,
        root: root.clone(),
        egress: None,
        confinement: Confinement {
            mode,
            readable: Vec::new(),
            writable: Vec::new(),
            executable: Vec::new(),
            processes: Processes::Forbidden,
            network: Network::Internet,
            limits: Limits::default(),
            memory: None,
        },
    };
    let specs = [SandboxMode::Off, SandboxMode::Auto].map(spec);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut taken = [Vec::new(), Vec::new()];
    runtime.block_on(async {
        for _ in 0..TIMES {
            for (spec, taken) in specs.iter().zip(&mut taken) {
                let begun = Instant::now();
                let ended = output(spec, Duration::from_secs(60)).await.unwrap();
                assert!(ended.status.unwrap().success());
                taken.push(begun.elapsed());
            }
        }
    });
    for (what, mut taken) in ["plain", "confined"].iter().zip(taken) {
        taken.sort();
        let (least, median) = (taken[0], taken[TIMES / 2]);
        println!("{what}: {least:?} at least, {median:?} median, from spec to reaped");
    }
}

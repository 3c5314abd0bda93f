//! How long compiling takes on one thread: `cargo bench -p compiler`.

use std::{fmt::Write, hint::black_box};

use compiler::{Adaptor, CompileOptions, compile};
use criterion::{Criterion, criterion_group, criterion_main};

/// A job like those that users write: twenty lines, seven statements.
const BLOCK: &str = "const limit = 100;
get('/patients', { query: { since: $.lastRun } });
post('/audit', { count: $.data.length, at: $.now });
fn(state => {
  const patients = state.data
    .filter(p => p.active)
    .map(p => ({ id: p.id, name: `${p.first} ${p.last}` }));
  return { ...state, patients };
});
each(
  '$.patients[*]',
  post('/registry', state => state.data)
);
get('/summary')
  .then(state => {
    state.total = state.data.total;
    return state;
  })
  .catch(error => {
    throw error;
  });
";

fn jobs(criterion: &mut Criterion) {
    let adaptors = [Adaptor {
        name: "@openfn/language-http".to_owned(),
        exports: [
            "get", "post", "each", "fn", "combine", "util", "http", "log",
        ]
        .map(str::to_owned)
        .to_vec(),
        export_all: true,
    }];
    let mut long = String::new();
    for number in 0..100 {
        let block = BLOCK.replace("limit", &format!("limit{number}"));
        write!(long, "{block}").expect("writing to a string");
    }
    for (name, source) in [("20 lines", BLOCK), ("2,000 lines", &long)] {
        criterion.bench_function(name, |bencher| {
            let options = CompileOptions {
                name: Some("bench"),
                adaptors: &adaptors,
                ignore: &[],
            };
            bencher.iter(|| compile(black_box(source), &options).expect("the job compiles"));
        });
    }
}

criterion_group!(compiling, jobs);
criterion_main!(compiling);

//! What large dataclips are made of: text that compresses well, less well and not at all.

use clap::ValueEnum;
use serde_json::{Value, json};

const STATE_BYTES: usize = 8 * 1024 * 1024;

/// What a large dataclip is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clip {
    /// One letter
    Fill,
    /// Records of a health project
    Records,
    /// Random letters, as of an encrypted file
    Noise,
}

impl Clip {
    pub(crate) fn items(self) -> Vec<Value> {
        let mut random = Xorshift(88_172_645_463_325_252);
        match self {
            Self::Fill => vec![json!("x".repeat(1000)); STATE_BYTES / 1003],
            Self::Records => {
                let mut items = Vec::new();
                let mut bytes = 0;
                while bytes < STATE_BYTES {
                    let item = record(&mut random);
                    bytes += item.to_string().len() + 1;
                    items.push(item);
                }
                items
            }
            Self::Noise => (0..STATE_BYTES / 1003)
                .map(|_| json!((0..1000).map(|_| random.letter()).collect::<String>()))
                .collect(),
        }
    }
}

/// Marsaglia's generator: small, and the same each time.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn letter(&mut self) -> char {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        char::from(letters[usize::try_from(self.below(64)).unwrap_or_default()])
    }
}

fn record(random: &mut Xorshift) -> Value {
    const NAMES: [&str; 6] = [
        "Amina Diallo",
        "John Otieno",
        "Grace Wanjiru",
        "Pedro Alvarez",
        "Mei Chen",
        "Fatou Sow",
    ];
    json!({
        "id": format!("{:013x}-{:013x}", random.next(), random.next()),
        "name": NAMES[usize::try_from(random.below(6)).unwrap_or_default()],
        "age": random.below(90),
        "registered": format!("2026-{:02}-{:02}T{:02}:{:02}:00.000Z", random.below(12) + 1, random.below(28) + 1, random.below(24), random.below(60)),
        "village": format!("village {}", random.below(400)),
        "visits": [
            { "kind": "anc", "weight": random.below(90), "notes": null },
            { "kind": "followup", "weight": random.below(90), "notes": "stable" },
        ],
        "active": random.below(2) == 0,
    })
}

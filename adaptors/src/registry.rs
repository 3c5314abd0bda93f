//! Whether the registry that adaptors come from answers. Nothing is installed.

use std::path::Path;
use std::time::Duration;

use crate::npm::{Npm, NpmError};
use crate::tools::Tools;

/// The adaptor that is asked for: every OpenFn has it.
const COMMON: &str = "@openfn/language-common";

/// What a registry says of an adaptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The adaptor's name.
    pub name: &'static str,
    /// Its newest version.
    pub version: String,
    /// The URL of its archive; empty if the registry names none.
    pub archive: String,
}

/// Asks npm's registry, as it is asked before an install, for an adaptor that every OpenFn has.
///
/// # Errors
/// When npm cannot be asked, or has no answer within `patience`.
pub async fn ask_registry(tools: Tools, patience: Duration) -> Result<Offer, NpmError> {
    let spec = format!("{COMMON}@latest");
    // npm would wait and try again where nobody answers.
    let args = [
        "view",
        &spec,
        "version",
        "dist.tarball",
        "--json",
        "--fetch-retries=0",
    ];
    let output = Npm::on_path(tools)
        .run(Path::new("/"), &[], &args, patience)
        .await?;
    offer(&output).ok_or(NpmError::UnknownVersion(spec))
}

fn offer(output: &str) -> Option<Offer> {
    let fields: serde_json::Value = serde_json::from_str(output).ok()?;
    let text = |name| fields.get(name)?.as_str().map(str::to_owned);
    Some(Offer {
        name: COMMON,
        version: text("version")?,
        archive: text("dist.tarball").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_version_is_none() {
        let told = r#"{"version": "3.3.4", "dist.tarball": "http://registry.example/c.tgz"}"#;
        let offer = offer(told).unwrap();
        assert_eq!(offer.version, "3.3.4");
        assert_eq!(offer.archive, "http://registry.example/c.tgz");
        for none in ["", "{}", r#""3.3.4""#, "npm notice"] {
            assert_eq!(super::offer(none), None, "{none}");
        }
    }
}

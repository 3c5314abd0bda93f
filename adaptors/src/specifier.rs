//! Adaptor specifiers: what may be handed to npm, and what it is called in the repository. No I/O.
//!
//! They come from a run's plan and end up as an argument and a folder name, so that anything but a plain package name and
//! a plain version is refused (engine spec, section 2.5).

/// What a run asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This version.
    Exact(Package),
    /// Whatever a tag stands for at present.
    Tagged { name: String, tag: &'static str },
    /// A folder of a monorepo: nothing to install.
    Local { name: String },
    /// Not an OpenFn package: skipped here, and refused when a job imports it (engine spec, section 2.3).
    NotWhitelisted { name: String },
}

/// A package with its version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Package {
    /// Its folder below `node_modules`, and its key in the repository's `package.json`.
    pub(crate) fn alias(&self) -> String {
        format!("{}_{}", self.name, self.version)
    }

    /// As an operator knows it: `name@version`.
    pub(crate) fn shown(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// What npm is asked to install.
    pub(crate) fn npm_spec(&self) -> String {
        format!("{}@npm:{}@{}", self.alias(), self.name, self.version)
    }
}

/// A specifier that must not reach npm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unsafe {
    /// With a version of its own; what npm would have been asked to install.
    Install(String),
    /// With a tag; the specifier.
    Lookup(String),
}

const WHITELIST: &str = "@openfn/";

/// Reads a specifier. One without a version means `latest`: the reference installs that too, but then looks for it in a
/// folder that does not exist.
///
/// # Errors
/// [`Unsafe`] when it is no plain name with a semantic version, `latest`, `next` or `local`.
pub(crate) fn read(specifier: &str) -> Result<Wanted, Unsafe> {
    let (name, version) = match specifier.rfind('@') {
        Some(at) if at > 0 => (&specifier[..at], Some(&specifier[at + 1..])),
        _ => (specifier, None),
    };
    if !specifier.starts_with(WHITELIST) {
        return Ok(Wanted::NotWhitelisted {
            name: name.to_owned(),
        });
    }
    let is_plain = is_plain_name(name);
    let name = name.to_owned();
    match version {
        Some("latest" | "next") if !is_plain => Err(Unsafe::Lookup(specifier.to_owned())),
        Some("latest") => Ok(Wanted::Tagged {
            name,
            tag: "latest",
        }),
        Some("next") => Ok(Wanted::Tagged { name, tag: "next" }),
        None if is_plain => Ok(Wanted::Tagged {
            name,
            tag: "latest",
        }),
        None => Err(Unsafe::Install(format!("{name}@npm:{name}"))),
        Some("local") if is_plain => Ok(Wanted::Local { name }),
        Some(version) => {
            let package = Package {
                name,
                version: version.to_owned(),
            };
            if is_plain && is_version(version) {
                Ok(Wanted::Exact(package))
            } else {
                Err(Unsafe::Install(package.npm_spec()))
            }
        }
    }
}

/// Whether an adaptor with this specifier can be installed, or is one of a monorepo.
pub fn is_installable(specifier: &str) -> bool {
    !matches!(read(specifier), Err(_) | Ok(Wanted::NotWhitelisted { .. }))
}

/// Whether npm's answer to a look-up is a version.
pub(crate) fn is_version(text: &str) -> bool {
    // A valid semantic version consists of letters, digits, dots, hyphens and pluses only.
    text.len() <= 256 && semver::Version::parse(text).is_ok()
}

/// `@openfn/` and one path segment of lower-case letters, digits, dots, underscores and hyphens.
fn is_plain_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(WHITELIST) else {
        return false;
    };
    // npm's own limit for the length of a name.
    name.len() <= 214
        && rest.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && rest
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_specifier_names_its_folder() {
        let Ok(Wanted::Exact(package)) = read("@openfn/language-http@7.2.0") else {
            panic!("refused")
        };
        assert_eq!(package.alias(), "@openfn/language-http_7.2.0");
        assert_eq!(
            package.npm_spec(),
            "@openfn/language-http_7.2.0@npm:@openfn/language-http@7.2.0"
        );
    }

    #[test]
    fn plain_openfn_specifiers_can_be_installed() {
        for fine in [
            "@openfn/language-http",
            "@openfn/language-http@next",
            "@openfn/language-x@local",
        ] {
            assert!(is_installable(fine), "{fine}");
        }
        for wrong in [
            "lodash",
            "language-http@1.0.0",
            "@openfn/language-http@1 2",
            "@openfn/language-http@@",
        ] {
            assert!(!is_installable(wrong), "{wrong}");
        }
    }

    #[test]
    fn prereleases_are_versions() {
        assert!(matches!(
            read("@openfn/language-http@7.2.0-rc.1"),
            Ok(Wanted::Exact(_))
        ));
    }

    #[test]
    fn tags_are_looked_up_and_a_missing_version_is_the_latest() {
        let name = || "@openfn/language-http".to_owned();
        assert_eq!(
            read("@openfn/language-http@next"),
            Ok(Wanted::Tagged {
                name: name(),
                tag: "next"
            })
        );
        assert_eq!(
            read("@openfn/language-http@latest"),
            Ok(Wanted::Tagged {
                name: name(),
                tag: "latest"
            })
        );
        assert_eq!(
            read("@openfn/language-http"),
            Ok(Wanted::Tagged {
                name: name(),
                tag: "latest"
            })
        );
        assert_eq!(
            read("@openfn/language-http@local"),
            Ok(Wanted::Local { name: name() })
        );
    }

    #[test]
    fn other_packages_are_skipped() {
        assert_eq!(
            read("lodash@4"),
            Ok(Wanted::NotWhitelisted {
                name: "lodash".to_owned()
            })
        );
        assert_eq!(
            read("@openfnx/a@1.0.0"),
            Ok(Wanted::NotWhitelisted {
                name: "@openfnx/a".to_owned()
            })
        );
        assert_eq!(
            read(""),
            Ok(Wanted::NotWhitelisted {
                name: String::new()
            })
        );
        assert_eq!(
            read("--prefix=/"),
            Ok(Wanted::NotWhitelisted {
                name: "--prefix=/".to_owned()
            })
        );
    }

    #[test]
    fn whatever_is_not_plain_is_refused_with_what_npm_would_have_got() {
        assert_eq!(
            read("@openfn/language-common@1.0.0;touch x"),
            Err(Unsafe::Install(
                "@openfn/language-common_1.0.0;touch x@npm:@openfn/language-common@1.0.0;touch x"
                    .to_owned()
            ))
        );
        for bad in [
            "@openfn/../x",
            "@openfn/../x@1.0.0",
            "@openfn/a/b@1.0.0",
            "@openfn/-x@1.0.0",
            "@openfn/A@1.0.0",
            "@openfn/a@^1.0.0",
            "@openfn/a@1",
            "@openfn/a@*",
            "@openfn/a@1.0.0 --prefix=/",
            "@openfn/a@file:/etc",
            "@openfn/a\n@1.0.0",
            "@openfn/@1.0.0",
            "@openfn/a@npm:b@1.0.0",
            "@openfn/a@",
            "@openfn/..@local",
        ] {
            assert!(
                matches!(read(bad), Err(Unsafe::Install(_))),
                "{bad}: {:?}",
                read(bad)
            );
        }
        assert_eq!(
            read("@openfn/../x@latest"),
            Err(Unsafe::Lookup("@openfn/../x@latest".to_owned()))
        );
    }
}

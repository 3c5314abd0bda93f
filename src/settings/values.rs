//! What the text of a setting may say. Each reader returns what is wrong as the rest of a sentence that begins with the
//! quoted text, and says what would be right.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::size::Mebibytes;
use url::Url;

use crate::logging::BadFilter;

/// Longest wait that is accepted: ten years, so that adding it to any instant stays in range.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Why a text cannot be used, as the rest of a sentence that begins with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("is empty; give {0}")]
    Empty(&'static str),
    #[error("is neither `true` nor `false`")]
    NotASwitch,
    #[error("is not a TCP port; give a number from 0 (any free port) to 65535")]
    NotAPort,
    #[error(
        "is not a TCP port; give a number from 0 (any free port) to 65535. Kubernetes sets WORKER_PORT in every pod beside a \
         service named `worker`: give --port, or set enableServiceLinks to false"
    )]
    PortOfKubernetes,
    #[error("is not a whole number of at least {0}")]
    NotACount(u32),
    #[error("is neither a whole number of at least 1 nor `auto`")]
    NotACountOrAuto,
    #[error("is no time; give a number of {0}")]
    NotATime(&'static str),
    #[error("is no size; give a number of MiB, {0}")]
    NotASize(&'static str),
    #[error("is not known; give one of {0}")]
    UnknownWord(String),
    #[error("is no URL that begins with {0}")]
    NotAUrl(String),
    #[error("is neither a ws:// or wss:// URL nor `mock`")]
    NotAnEndpoint,
    #[error("begins with ~, but this user has no home directory; give an absolute path")]
    NoHome,
    #[error("is no version; give one such as 1.0.0, `latest` or `local`")]
    NotAVersion,
    #[error("is no DSN; give https://KEY@HOST/PROJECT")]
    NotADsn,
    /// A reader elsewhere has refused it.
    #[error("cannot be used: {why}; give {wanted}")]
    Unusable { why: String, wanted: &'static str },
    #[error(transparent)]
    Filter(#[from] BadFilter),
}

impl ValueError {
    /// For the error of a reader elsewhere.
    pub(crate) fn unusable(why: impl fmt::Display, wanted: &'static str) -> Self {
        Self::Unusable {
            why: why.to_string(),
            wanted,
        }
    }
}

pub(crate) fn text(text: &str) -> Result<String, ValueError> {
    if text.trim().is_empty() {
        Err(ValueError::Empty("a text"))
    } else {
        Ok(text.to_owned())
    }
}

/// The reference reads `true` and `1` as true; what else operators write for yes and no is understood, too.
pub(crate) fn switch(text: &str) -> Result<bool, ValueError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(ValueError::NotASwitch),
    }
}

pub(crate) fn port(text: &str) -> Result<u16, ValueError> {
    text.parse().map_err(|_| {
        if text.contains("://") {
            ValueError::PortOfKubernetes
        } else {
            ValueError::NotAPort
        }
    })
}

/// A whole number of at least `least`.
pub(crate) fn count(least: u32) -> impl Fn(&str) -> Result<u32, ValueError> {
    move |text| match text.parse() {
        Ok(count) if count >= least => Ok(count),
        _ => Err(ValueError::NotACount(least)),
    }
}

/// Seconds, decimals allowed; more than zero.
pub(crate) fn seconds(text: &str) -> Result<Duration, ValueError> {
    duration(text, 1.0, "seconds, more than 0")
}

/// Milliseconds, decimals allowed; more than zero.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, ValueError> {
    duration(text, 1000.0, "milliseconds, more than 0")
}

/// Seconds, where zero has a meaning of its own.
pub(crate) fn seconds_or_zero(text: &str) -> Result<Duration, ValueError> {
    if text.parse() == Ok(0.0) {
        Ok(Duration::ZERO)
    } else {
        seconds(text).map_err(|_| ValueError::NotATime("seconds, 0 or more"))
    }
}

fn duration(
    text: &str,
    units_per_second: f64,
    wanted: &'static str,
) -> Result<Duration, ValueError> {
    text.parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number / units_per_second).ok())
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or(ValueError::NotATime(wanted))
}

/// A size in MiB, decimals allowed; more than zero.
pub(crate) fn mebibytes(text: &str) -> Result<Mebibytes, ValueError> {
    size(text)
        .filter(|size| size.get() > 0.0)
        .ok_or(ValueError::NotASize("more than 0"))
}

/// The same, where nothing is allowed too.
pub(crate) fn mebibytes_or_zero(text: &str) -> Result<Mebibytes, ValueError> {
    size(text).ok_or(ValueError::NotASize("0 or more"))
}

fn size(text: &str) -> Option<Mebibytes> {
    /// One TiB: beyond it a limit limits nothing and its bytes may no longer fit a counter.
    const LARGEST: f64 = 1024.0 * 1024.0;
    let size: f64 = text.parse().ok()?;
    (0.0..=LARGEST)
        .contains(&size)
        .then(|| Mebibytes::new(size))
}

/// One word out of a few.
pub(crate) fn one_of<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, ValueError> {
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            ValueError::UnknownWord(words.join(", "))
        })
}

/// A URL with one of these schemes and a host.
pub(crate) fn url(schemes: &[&str], text: &str) -> Result<String, ValueError> {
    let wanted = || {
        let schemes: Vec<_> = schemes.iter().map(|s| format!("{s}://")).collect();
        ValueError::NotAUrl(schemes.join(" or "))
    };
    let url = Url::parse(text).map_err(|_| wanted())?;
    if schemes.contains(&url.scheme()) && url.has_host() {
        Ok(text.to_owned())
    } else {
        Err(wanted())
    }
}

/// A path. A leading `~` is the home directory, which no shell has replaced in a variable or a file.
pub(crate) fn path(home: Option<&Path>, text: &str) -> Result<PathBuf, ValueError> {
    if text.trim().is_empty() {
        return Err(ValueError::Empty("a path"));
    }
    match (
        text.strip_prefix('~')
            .filter(|rest| rest.is_empty() || rest.starts_with('/')),
        home,
    ) {
        (None, _) => Ok(PathBuf::from(text)),
        (Some(rest), Some(home)) => Ok(home.join(rest.trim_start_matches('/'))),
        (Some(_), None) => Err(ValueError::NoHome),
    }
}

/// The endpoint of a socket; `http` and `https` stand for `ws` and `wss` (protocol spec, section 1.1).
pub(crate) fn socket_url(text: &str) -> Result<String, ValueError> {
    let text = match text.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        _ => text.to_owned(),
    };
    url(&["ws", "wss"], &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_understand_the_reference_and_plain_words() {
        assert_eq!(switch("1"), Ok(true));
        assert_eq!(switch("TRUE"), Ok(true));
        assert_eq!(switch("0"), Ok(false));
        assert!(switch("maybe").is_err());
    }

    #[test]
    fn a_port_that_kubernetes_put_there_is_explained() {
        assert_eq!(port("0"), Ok(0));
        assert!(port("65536").unwrap_err().to_string().contains("65535"));
        assert!(
            port("tcp://10.0.0.1:2222")
                .unwrap_err()
                .to_string()
                .contains("Kubernetes")
        );
        assert!(!port("x").unwrap_err().to_string().contains("Kubernetes"));
    }

    #[test]
    fn counts_have_a_least_value() {
        assert_eq!(count(1)("3"), Ok(3));
        for bad in ["0", "-1", "1.5", "", "x", "99999999999"] {
            assert!(count(1)(bad).is_err(), "{bad}");
        }
        assert_eq!(count(0)("0"), Ok(0));
    }

    #[test]
    fn times_are_positive_and_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(milliseconds("30000"), Ok(Duration::from_secs(30)));
        for bad in ["0", "-1", "inf", "NaN", "1e300", "abc", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds_or_zero("0"), Ok(Duration::ZERO));
        assert!(
            seconds_or_zero("-2")
                .unwrap_err()
                .to_string()
                .contains("0 or more")
        );
    }

    #[test]
    fn sizes_are_positive_and_bounded() {
        assert_eq!(mebibytes("0.25"), Ok(Mebibytes::new(0.25)));
        for bad in ["0", "-1", "inf", "NaN", "1e12", "ten"] {
            assert!(mebibytes(bad).is_err(), "{bad}");
            assert!(mebibytes_or_zero(bad).is_err() || bad == "0", "{bad}");
        }
        assert_eq!(mebibytes_or_zero("0"), Ok(Mebibytes::new(0.0)));
    }

    #[test]
    fn a_url_needs_its_scheme_and_a_host() {
        let ws = |text| url(&["ws", "wss"], text);
        assert!(ws("wss://app.openfn.org/worker").is_ok());
        assert!(ws("ws://localhost:4000/worker").is_ok());
        for bad in ["localhost:4000", "http://x/worker", "ws://", "worker", ""] {
            assert!(ws(bad).is_err(), "{bad}");
        }
        assert!(
            ws("http://x")
                .unwrap_err()
                .to_string()
                .contains("ws:// or wss://")
        );
    }

    #[test]
    fn the_endpoint_of_a_socket_may_be_written_as_that_of_a_web_site() {
        for (given, meant) in [
            (
                "https://app.openfn.org/worker",
                "wss://app.openfn.org/worker",
            ),
            ("http://localhost:4000/worker", "ws://localhost:4000/worker"),
            ("wss://app.openfn.org/worker", "wss://app.openfn.org/worker"),
        ] {
            assert_eq!(socket_url(given), Ok(meant.to_owned()));
        }
        assert!(socket_url("ftp://x/worker").is_err());
    }

    #[test]
    fn a_leading_tilde_is_the_home_directory() {
        let home = Some(Path::new("/home/w"));
        assert_eq!(path(home, "~/repo"), Ok(PathBuf::from("/home/w/repo")));
        assert_eq!(path(home, "~other/repo"), Ok(PathBuf::from("~other/repo")));
        assert_eq!(path(None, "/repo"), Ok(PathBuf::from("/repo")));
        assert!(
            path(None, "~/repo")
                .unwrap_err()
                .to_string()
                .contains("no home directory")
        );
        assert!(path(home, " ").is_err());
    }
}

//! The standard variables of OpenTelemetry, as far as they are not read by its SDK: endpoint, headers, resource and limits
//! are, `OTEL_BSP_*` too.

use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_otlp::Protocol;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::sampler::RunSampler;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const TRACES_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE";
const COMPRESSION: &str = "OTEL_EXPORTER_OTLP_COMPRESSION";
const TRACES_COMPRESSION: &str = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION";
const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const BATCH_TIMEOUT: &str = "OTEL_BSP_EXPORT_TIMEOUT";

/// The variables that [`TraceSettings::read`] asks for.
pub const VARIABLES: [&str; 20] = [
    ENDPOINT,
    TRACES_ENDPOINT,
    PROTOCOL,
    TRACES_PROTOCOL,
    HEADERS,
    TRACES_HEADERS,
    TIMEOUT,
    TRACES_TIMEOUT,
    CERTIFICATE,
    TRACES_CERTIFICATE,
    COMPRESSION,
    TRACES_COMPRESSION,
    DISABLED,
    EXPORTER,
    SAMPLER,
    SAMPLER_ARG,
    SERVICE,
    RESOURCE,
    QUEUE,
    BATCH_TIMEOUT,
];

/// The specification's default, as is that of [`QUEUE_SIZE`].
const PATIENCE: Duration = Duration::from_secs(10);
const QUEUE_SIZE: usize = 2048;

/// A value that is shorter is no secret.
const SHORTEST_SECRET: usize = 8;

/// How and which traces are made.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Where spans go, without what may be secret in it.
    pub collector: String,
    /// How they go there.
    pub protocol: Protocol,
    /// The longest that one attempt to send may take.
    pub timeout: Duration,
    /// Certificates trusted besides the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// Which runs have a trace.
    pub sampler: RunSampler,
    /// Whether the operator names the service; else it is `ws-worker`.
    pub service_named: bool,
    /// Spans that may wait to be sent.
    pub queue_size: usize,
}

/// What was found in the environment.
#[derive(Debug, Default)]
pub struct Found {
    /// None where no traces are made.
    pub settings: Option<TraceSettings>,
    /// What is not as the operator meant it.
    pub warnings: Vec<String>,
    /// Values that belong into no log.
    pub secrets: Vec<String>,
}

impl TraceSettings {
    /// Reads the variables; `variable` gives one that is set and not empty. Without an endpoint there are no traces.
    pub fn read<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Found {
        let mut found = Found::default();
        let either = |signal, general| variable(signal).or_else(|| variable(general));
        let Some(endpoint) = either(TRACES_ENDPOINT, ENDPOINT) else {
            return found;
        };
        if variable(DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return found;
        }
        let warnings = &mut found.warnings;
        match variable(EXPORTER).map(str::trim) {
            None | Some("otlp") => {}
            Some("none") => return found,
            Some(other) => {
                warnings.push(format!(
                    "{EXPORTER} is `{other}`: the worker has `otlp` only, so there are no traces; set it to `otlp`, or to `none`"
                ));
                return found;
            }
        }
        let protocol = match either(TRACES_PROTOCOL, PROTOCOL).map(str::trim) {
            None | Some("http/protobuf") => Protocol::HttpBinary,
            Some("http/json") => Protocol::HttpJson,
            Some(other) => {
                warnings.push(format!(
                    "{PROTOCOL} is `{other}`: the worker sends traces over HTTP only, so there are none; set it to `http/protobuf`, \
                     and the endpoint to the collector's port for HTTP, mostly 4318"
                ));
                return found;
            }
        };
        let compression = either(TRACES_COMPRESSION, COMPRESSION).map(str::trim);
        if let Some(other) = compression.filter(|it| !matches!(*it, "gzip" | "none")) {
            warnings.push(format!(
                "{COMPRESSION} is `{other}`: the worker has `gzip` only, so there are no traces; set it to `gzip`, or to `none`"
            ));
            return found;
        }
        let collector = match Url::parse(endpoint) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                url.origin().ascii_serialization()
            }
            Ok(_) | Err(_) => {
                warnings.push(format!(
                    "{ENDPOINT} is no URL that begins with `http://` or `https://`, so there are no traces; set it to the collector's, \
                     such as `http://localhost:4318`"
                ));
                return found;
            }
        };
        let timeout = milliseconds(&variable, &[TRACES_TIMEOUT, TIMEOUT], warnings);
        let batch = milliseconds(&variable, &[BATCH_TIMEOUT], warnings);
        let (sampler, doubt) = RunSampler::read(variable(SAMPLER), variable(SAMPLER_ARG));
        warnings.extend(doubt);
        let named_in = |attributes: &str| {
            let mut keys = attributes
                .split(',')
                .filter_map(|pair| pair.split_once('='));
            keys.any(|(key, _)| key.trim() == "service.name")
        };
        found.secrets = [HEADERS, TRACES_HEADERS]
            .into_iter()
            .filter_map(&variable)
            .flat_map(header_values)
            .collect();
        found.settings = Some(Self {
            collector,
            protocol,
            timeout: timeout
                .unwrap_or(PATIENCE)
                .min(batch.unwrap_or(Duration::MAX)),
            extra_ca_file: either(TRACES_CERTIFICATE, CERTIFICATE).map(PathBuf::from),
            sampler,
            service_named: variable(SERVICE).is_some() || variable(RESOURCE).is_some_and(named_in),
            queue_size: variable(QUEUE)
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(QUEUE_SIZE),
        });
        found
    }
}

fn milliseconds<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
    names: &[&str],
    warnings: &mut Vec<String>,
) -> Option<Duration> {
    let (name, text) = names
        .iter()
        .find_map(|name| Some((name, variable(name)?)))?;
    let parsed = text.trim().parse().ok().filter(|millis| *millis > 0);
    if parsed.is_none() {
        warnings.push(format!(
            "{name} is `{text}`, which is no number of milliseconds: the default counts"
        ));
    }
    parsed.map(Duration::from_millis)
}

/// The values of `name=value,name=value`, as they are and decoded.
fn header_values(text: &str) -> Vec<String> {
    let values = text.split(',').filter_map(|pair| pair.split_once('='));
    values
        .flat_map(|(_, value)| [value.trim().to_owned(), decoded(value.trim())])
        .filter(|value| value.len() >= SHORTEST_SECRET)
        .collect()
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &'static str)]) -> Found {
        TraceSettings::read(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| *value)
        })
    }

    const HERE: (&str, &str) = (ENDPOINT, "http://user:pass@localhost:4318/base");

    #[test]
    fn there_are_traces_only_where_an_endpoint_is_given_and_nothing_speaks_against_them() {
        assert!(read(&[(SERVICE, "x")]).settings.is_none());
        assert!(read(&[HERE]).settings.is_some());
        assert!(
            read(&[(TRACES_ENDPOINT, "https://c/v1/traces")])
                .settings
                .is_some()
        );
        for off in [(DISABLED, "TRUE"), (EXPORTER, "none")] {
            let found = read(&[HERE, off]);
            assert!(
                found.settings.is_none() && found.warnings.is_empty(),
                "{off:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_fix() {
        for (bad, fix) in [
            ((PROTOCOL, "grpc"), "http/protobuf"),
            ((TRACES_PROTOCOL, "grpc"), "4318"),
            ((EXPORTER, "zipkin"), "otlp"),
            ((TRACES_COMPRESSION, "zstd"), "gzip"),
            ((TRACES_ENDPOINT, "localhost:4318"), "http://localhost:4318"),
        ] {
            let found = read(&[HERE, bad]);
            assert!(found.settings.is_none(), "{bad:?}");
            assert!(found.warnings.concat().contains(fix), "{bad:?}");
        }
    }

    #[test]
    fn what_belongs_to_the_signal_counts_before_the_general_and_the_shorter_time_before_the_longer()
    {
        let found = read(&[
            HERE,
            (PROTOCOL, "grpc"),
            (TRACES_PROTOCOL, "http/json"),
            (TIMEOUT, "9000"),
            (TRACES_TIMEOUT, "3000"),
            (BATCH_TIMEOUT, "2000"),
        ]);
        let settings = found.settings.unwrap();
        assert_eq!(settings.protocol, Protocol::HttpJson);
        assert_eq!(settings.timeout, Duration::from_secs(2));
        assert_eq!(settings.collector, "http://localhost:4318");
    }

    #[test]
    fn a_time_that_is_none_is_said_and_the_default_counts() {
        let found = read(&[HERE, (TIMEOUT, "10s")]);
        assert_eq!(found.settings.unwrap().timeout, PATIENCE);
        assert!(found.warnings.concat().contains("10s"));
    }

    #[test]
    fn the_service_is_named_by_either_variable() {
        for (variable, named) in [
            ((SERVICE, "x"), true),
            ((RESOURCE, "a=b, service.name=x"), true),
            ((RESOURCE, "service.namespace=x"), false),
        ] {
            let found = read(&[HERE, variable]);
            assert_eq!(found.settings.unwrap().service_named, named, "{variable:?}");
        }
    }

    #[test]
    fn values_of_headers_are_secrets_in_either_form() {
        let found = read(&[HERE, (HEADERS, "authorization=Bearer%20a+b=,x-tenant=7")]);
        assert_eq!(found.secrets, ["Bearer%20a+b=", "Bearer a+b="]);
    }
}

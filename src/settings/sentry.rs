//! Whether and where errors are reported besides the log.

use std::path::PathBuf;

use actors::config::Secret;

use super::resolver::Resolver;
use super::values::ValueError;
use super::{table, values};
use crate::logging::{LogSettings, ReportSettings};

/// Adds it to the settings of the log, which must not show it.
pub(super) fn sentry(from: &mut Resolver, log: &mut LogSettings, extra_ca_file: Option<PathBuf>) {
    let dsn = from.optional(&table::SENTRY_DSN, |text| {
        text.parse::<::sentry::types::Dsn>()
            .map(|_| Secret::new(text))
            .map_err(|_| ValueError::NotADsn)
    });
    let environment = from.required(&table::SENTRY_ENV, values::text);
    log.reports = dsn.map(|dsn| {
        log.secrets.push(dsn.clone());
        ReportSettings {
            dsn,
            environment,
            extra_ca_file,
        }
    });
}

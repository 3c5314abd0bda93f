//! Who may ask: the bearer token that guards all but the health endpoints, and the pages of other sites.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, ORIGIN};
use actors::config::Secret;
use subtle::ConstantTimeEq as _;

/// Whether a request may pass: no token is asked for, or it bears the right one.
pub(super) fn allowed(token: Option<&Secret>, request: &HttpRequest) -> bool {
    let Some(token) = token else { return true };
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    given
        .and_then(bearer)
        // In a time that depends on the length only, so that a token cannot be guessed byte by byte.
        .is_some_and(|given| given.as_bytes().ct_eq(token.expose().as_bytes()).into())
}

/// The token of an `Authorization` header. The scheme's case does not matter (RFC 9110).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a browser has sent this on behalf of a page that is not the worker's own. Other clients set neither header.
pub(super) fn from_another_site(request: &HttpRequest) -> bool {
    let header = |name: &str| Some(request.headers().get(name)?.as_bytes());
    if let Some(site) = header("sec-fetch-site") {
        return !matches!(site, b"same-origin" | b"none");
    }
    let Some(origin) = header(ORIGIN.as_str()) else {
        return false;
    };
    // An origin is `scheme://host:port`, or `null` for a page that has none.
    let authority = origin
        .windows(3)
        .position(|part| part == b"://")
        .map(|scheme| &origin[scheme + 3..]);
    authority.is_none() || authority != header(HOST.as_str())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn passes(header: Option<&str>) -> bool {
        let mut request = TestRequest::default();
        if let Some(header) = header {
            request = request.insert_header((AUTHORIZATION, header));
        }
        allowed(Some(&Secret::new("t0ken")), &request.to_http_request())
    }

    #[test]
    fn only_the_right_token_passes() {
        assert!(passes(Some("Bearer t0ken")));
        assert!(passes(Some("bearer t0ken")));
        for header in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer t0keN"),
            Some("Bearer t0ken1"),
            Some("Basic t0ken"),
        ] {
            assert!(!passes(header), "{header:?}");
        }
    }

    #[test]
    fn without_a_token_everybody_passes() {
        assert!(allowed(None, &TestRequest::default().to_http_request()));
    }

    fn is_foreign(headers: &[(&str, &str)]) -> bool {
        let request = headers.iter().fold(
            TestRequest::default().insert_header((HOST, "worker:2222")),
            |request, header| request.insert_header(*header),
        );
        from_another_site(&request.to_http_request())
    }

    #[test]
    fn pages_of_other_sites_are_told_by_what_browsers_say_of_them() {
        for own in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://worker:2222"),
            ],
            &[("origin", "http://worker:2222")],
            // Behind a proxy that speaks TLS.
            &[("origin", "https://worker:2222")],
        ] {
            assert!(!is_foreign(own), "{own:?}");
        }
        for foreign in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "http://worker:8080")],
            &[("origin", "https://example.com")],
            &[("origin", "null")],
            &[("origin", "")],
        ] {
            assert!(is_foreign(foreign), "{foreign:?}");
        }
    }
}

//! The worker's own token, and the check of run tokens (protocol spec, sections 1.2 and 7).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::RunId;

/// The issuer of worker tokens.
const WORKER_ISSUER: &str = "urn:openfn:worker";
/// The issuer of run tokens.
const LIGHTNING_ISSUER: &str = "Lightning";
/// How far the clocks of Lightning and the worker may differ, in seconds.
const TOLERANCE: f64 = 5.0;

/// What is wrong with a token or a key.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A worker token cannot be made.
    #[error("the token cannot be signed: {0}")]
    Sign(jsonwebtoken::errors::Error),
    /// The public key is not base64 of a PEM.
    #[error("not base64 of a PEM text with an RSA public key: {0}")]
    Key(String),
    /// The signature or the form is wrong.
    #[error("its signature does not fit the public key: {0}")]
    Signature(jsonwebtoken::errors::Error),
    /// It is no JWT at all.
    #[error("it is not a JWT")]
    Form,
    /// A claim is missing or wrong.
    #[error("its claim {claim} {why}")]
    Claim {
        /// The name of the claim.
        claim: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
struct WorkerClaims<'a> {
    worker_id: &'a str,
    iat: u64,
    iss: &'a str,
}

/// The token that opens the socket: HS256 over the secret's own bytes, its header nothing but the algorithm.
///
/// # Errors
/// [`TokenError::Sign`].
pub fn worker_token(secret: &str, worker_id: &str, now_seconds: u64) -> Result<String, TokenError> {
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256"}"#);
    let claims = WorkerClaims {
        worker_id,
        iat: now_seconds,
        iss: WORKER_ISSUER,
    };
    let claims = serde_json::to_vec(&claims).map_err(|error| TokenError::Sign(error.into()))?;
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256)
        .map_err(TokenError::Sign)?;
    Ok(format!("{message}.{signature}"))
}

/// Checks a worker token as Lightning does: signature, issuer, and that `iat` and `worker_id` are there.
///
/// # Errors
/// [`TokenError`] that names what is wrong.
pub fn verify_worker_token(secret: &str, token: &str) -> Result<(), TokenError> {
    let claims = verified_claims(
        token,
        &DecodingKey::from_secret(secret.as_bytes()),
        Algorithm::HS256,
    )?;
    issued_by(&claims, WORKER_ISSUER)?;
    for claim in ["iat", "worker_id"] {
        if claims.get(claim).is_none() {
            return Err(TokenError::Claim {
                claim,
                why: "is missing".to_owned(),
            });
        }
    }
    Ok(())
}

/// Signs the token of a run as Lightning does (protocol spec, section 7.1), for mocks and tests.
///
/// # Errors
/// [`TokenError`] when the key is no RSA private key in PEM form.
pub fn sign_run_token(
    private_pem: &str,
    run_id: &str,
    now_seconds: u64,
    expiry: u64,
) -> Result<String, TokenError> {
    let key = EncodingKey::from_rsa_pem(private_pem.as_bytes()).map_err(TokenError::Sign)?;
    let claims = serde_json::json!({
        "iss": LIGHTNING_ISSUER, "id": run_id, "sub": format!("run:{run_id}"), "nbf": now_seconds, "exp": expiry,
    });
    jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::RS256), &claims, &key)
        .map_err(TokenError::Sign)
}

/// The public key that run tokens are checked with.
#[derive(Clone)]
pub struct RunTokenKey(DecodingKey);

impl fmt::Debug for RunTokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunTokenKey")
    }
}

impl RunTokenKey {
    /// Reads base64 of a PEM text: PKCS#1 (`BEGIN RSA PUBLIC KEY`) or SPKI (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// [`TokenError::Key`].
    pub fn from_base64_pem(text: &str) -> Result<Self, TokenError> {
        let compact: String = text.split_whitespace().collect();
        let pem = STANDARD
            .decode(compact)
            .map_err(|error| TokenError::Key(error.to_string()))?;
        let key =
            DecodingKey::from_rsa_pem(&pem).map_err(|error| TokenError::Key(error.to_string()))?;
        Ok(Self(key))
    }

    /// Checks signature, issuer and times of a run token, with 5 s of tolerance (protocol spec, section 7.2). Which run it is
    /// for is left to the caller, who knows which one was claimed.
    ///
    /// # Errors
    /// [`TokenError`] that names the claim that is wrong.
    pub fn verify(&self, token: &str, now_seconds: u64) -> Result<RunClaims, TokenError> {
        let claims = verified_claims(token, &self.0, Algorithm::RS256)?;
        issued_by(&claims, LIGHTNING_ISSUER)?;
        let nbf = numeric(&claims, "nbf")?;
        let exp = numeric(&claims, "exp")?;
        numeric(&claims, "iat")?;
        let now = seconds(now_seconds);
        if let Some(nbf) = nbf.filter(|nbf| *nbf > now + TOLERANCE) {
            return Err(TokenError::Claim {
                claim: "nbf",
                why: format!("is {nbf}, in the future (now is {now})"),
            });
        }
        if let Some(exp) = exp.filter(|exp| *exp <= now - TOLERANCE) {
            return Err(TokenError::Claim {
                claim: "exp",
                why: format!("is {exp}, in the past (now is {now})"),
            });
        }
        Ok(RunClaims {
            run: claims.get("id").and_then(Value::as_str).map(RunId::new),
            expiry: exp.map(whole_seconds),
        })
    }
}

/// What a run token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunClaims {
    /// The run that it is for, if it says so.
    pub run: Option<RunId>,
    /// Until when it opens the run's channel, seconds since the epoch.
    pub expiry: Option<u64>,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds since the epoch are far below 2^52"
)]
fn seconds(seconds: u64) -> f64 {
    seconds as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates; a time before 1970 has passed like 1970 itself"
)]
fn whole_seconds(seconds: f64) -> u64 {
    seconds as u64
}

fn issued_by(claims: &Value, issuer: &str) -> Result<(), TokenError> {
    match claims.get("iss").and_then(Value::as_str) {
        Some(found) if found == issuer => Ok(()),
        Some(found) => Err(TokenError::Claim {
            claim: "iss",
            why: format!("is {found}, not {issuer}"),
        }),
        None => Err(TokenError::Claim {
            claim: "iss",
            why: "is missing".to_owned(),
        }),
    }
}

fn numeric(claims: &Value, claim: &'static str) -> Result<Option<f64>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(TokenError::Claim {
                claim,
                why: format!("is {value}, not a number"),
            }),
        },
    }
}

/// The claims of a token with a right signature. Times are checked by the callers, who know what time it is.
fn verified_claims(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<Value, TokenError> {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode(token, key, &validation);
    decoded.map(|token| token.claims).map_err(|error| {
        let about_the_signature = matches!(
            error.kind(),
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidSignature
        );
        if about_the_signature {
            TokenError::Signature(error)
        } else {
            TokenError::Form
        }
    })
}

/// The `exp` of a token, seconds since the epoch, without looking at its signature: the deadline of a run (protocol spec,
/// section 10.3). `None` for tokens without one, and for what is no token.
pub fn unverified_expiry(token: &str) -> Option<u64> {
    let claims: Value = insecure_decode_claims(token).ok()?;
    claims.get("exp")?.as_f64().map(whole_seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRIVATE: &str = include_str!("../tests/fixtures/keys/private.pem");
    const PUBLIC_PKCS1: &str = include_str!("../tests/fixtures/keys/public_pkcs1.pem");
    const PUBLIC_SPKI: &str = include_str!("../tests/fixtures/keys/public_spki.pem");
    const NOW: u64 = 1_800_000_000;

    fn key() -> RunTokenKey {
        RunTokenKey::from_base64_pem(&STANDARD.encode(PUBLIC_PKCS1)).unwrap()
    }

    fn token(claims: &Value) -> String {
        let key = EncodingKey::from_rsa_pem(PRIVATE.as_bytes()).unwrap();
        jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::RS256), claims, &key).unwrap()
    }

    fn refusal(claims: &Value) -> String {
        key().verify(&token(claims), NOW).unwrap_err().to_string()
    }

    #[test]
    fn a_worker_token_has_the_header_and_claims_that_lightning_wants() {
        let token = worker_token("se cret", "three-word-name", NOW).unwrap();
        let header = URL_SAFE_NO_PAD
            .decode(token.split('.').next().unwrap())
            .unwrap();
        assert_eq!(header, br#"{"alg":"HS256"}"#);
        verify_worker_token("se cret", &token).unwrap();
        assert!(matches!(
            verify_worker_token("other", &token),
            Err(TokenError::Signature(_))
        ));
    }

    #[test]
    fn run_tokens_are_accepted_with_both_forms_of_the_key() {
        let token = sign_run_token(PRIVATE, "r1", NOW, NOW + 10).unwrap();
        let claims = RunClaims {
            run: Some(RunId::new("r1")),
            expiry: Some(NOW + 10),
        };
        assert_eq!(key().verify(&token, NOW).unwrap(), claims);
        RunTokenKey::from_base64_pem(&STANDARD.encode(PUBLIC_SPKI))
            .unwrap()
            .verify(&token, NOW)
            .unwrap();
        assert_eq!(unverified_expiry(&token), Some(NOW + 10));
    }

    #[test]
    fn clocks_may_differ_by_five_seconds() {
        let claims = |nbf: u64| serde_json::json!({"iss": "Lightning", "nbf": nbf, "iat": NOW + 2});
        key().verify(&token(&claims(NOW + 4)), NOW).unwrap();
        assert!(refusal(&claims(NOW + 6)).contains("claim nbf"));
        let exp = |exp: u64| serde_json::json!({"iss": "Lightning", "exp": exp});
        key().verify(&token(&exp(NOW - 4)), NOW).unwrap();
        assert!(refusal(&exp(NOW - 6)).contains("claim exp"));
    }

    #[test]
    fn the_claim_that_is_wrong_is_named() {
        assert_eq!(refusal(&serde_json::json!({})), "its claim iss is missing");
        assert_eq!(
            refusal(&serde_json::json!({"iss": "me"})),
            "its claim iss is me, not Lightning"
        );
        assert_eq!(
            refusal(&serde_json::json!({"iss": "Lightning", "iat": "now"})),
            "its claim iat is \"now\", not a number"
        );
    }

    #[test]
    fn the_deadline_is_read_from_whatever_looks_like_a_token() {
        let unsigned = |claims: &str| format!("x.{}.z", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(unverified_expiry(&unsigned(r#"{"exp":12}"#)), Some(12));
        assert_eq!(unverified_expiry(&unsigned(r#"{"exp":12.9}"#)), Some(12));
        assert_eq!(unverified_expiry(&unsigned(r#"{"exp":-1}"#)), Some(0));
        assert_eq!(unverified_expiry(&unsigned(r#"{"exp":"soon"}"#)), None);
        assert_eq!(unverified_expiry(&unsigned("[]")), None);
        assert_eq!(unverified_expiry("x.y.z"), None);
        assert_eq!(unverified_expiry(""), None);
    }

    #[test]
    fn a_worker_token_without_its_claims_is_refused() {
        let signed = |claims: &Value| {
            let key = EncodingKey::from_secret(b"s");
            jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
        };
        let refusal = |claims: Value| {
            verify_worker_token("s", &signed(&claims))
                .unwrap_err()
                .to_string()
        };
        let iss = "urn:openfn:worker";
        assert_eq!(
            refusal(serde_json::json!({"iss": iss, "iat": 1})),
            "its claim worker_id is missing"
        );
        assert_eq!(
            refusal(serde_json::json!({"iss": iss, "worker_id": "w"})),
            "its claim iat is missing"
        );
        assert!(refusal(serde_json::json!({"iss": "x"})).contains("claim iss"));
    }

    #[test]
    fn tokens_of_others_and_garbage_are_refused() {
        let symmetric = worker_token("s", "w", NOW).unwrap();
        assert!(matches!(
            key().verify(&symmetric, NOW),
            Err(TokenError::Signature(_))
        ));
        assert!(matches!(key().verify("x.y.z", NOW), Err(TokenError::Form)));
        let mut forged = sign_run_token(PRIVATE, "r1", NOW, NOW + 10).unwrap();
        forged.truncate(forged.len() - 4);
        assert!(key().verify(&forged, NOW).is_err());
        assert!(RunTokenKey::from_base64_pem("not base64!").is_err());
        assert!(RunTokenKey::from_base64_pem(&STANDARD.encode("not a PEM")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".*", middle in "[A-Za-z0-9_-]*") {
            prop_assert!(key().verify(&text, NOW).is_err());
            prop_assert!(verify_worker_token("secret", &text).is_err());
            let _expiry = unverified_expiry(&format!("a.{middle}.c"));
        }
    }
}

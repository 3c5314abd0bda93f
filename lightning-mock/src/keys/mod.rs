//! Tokens: signs run tokens, checks them at joins, and checks the worker's own token at the socket.
//!
//! Written apart from the worker's token code on purpose: this side judges it.

mod der;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value, json};

/// The key pair that every mock uses unless it is given another. It is public: never trust a token signed with it.
const TEST_KEY: &str = include_str!("test-key.pem");

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a private RSA key in PEM form.
    #[error("the run token key is no RSA private key in PEM form (PKCS#1 or PKCS#8)")]
    NotRsa,
    /// Refused by the signing library.
    #[error("the run token key cannot be used")]
    Unusable(#[source] jsonwebtoken::errors::Error),
}

/// Why a token does not open what it was shown to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenRefusal {
    #[error("the token is missing")]
    Missing,
    #[error("the token's signature or form is wrong")]
    Signature,
    #[error("the token's claim {0} is missing or wrong")]
    Claim(&'static str),
}

/// What signs and verifies run tokens (protocol spec, section 7.1).
#[derive(Clone)]
pub(crate) struct RunKey {
    signing: EncodingKey,
    verifying: DecodingKey,
    algorithm: Algorithm,
    /// Empty where there is no public half.
    public_pem: String,
}

impl fmt::Debug for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunKey").finish_non_exhaustive()
    }
}

impl RunKey {
    pub(crate) fn test() -> Result<Self, KeyError> {
        Self::from_pem(TEST_KEY)
    }

    pub(crate) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let public_der = der::public_key(pem).ok_or(KeyError::NotRsa)?;
        Ok(Self {
            signing: EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(KeyError::Unusable)?,
            verifying: DecodingKey::from_rsa_der(&public_der),
            algorithm: Algorithm::RS256,
            public_pem: der::pem("RSA PUBLIC KEY", &public_der),
        })
    }

    /// Tokens with a checksum only. An RSA signature costs as much as a worker spends on a small run, and under load
    /// the two share a machine.
    pub(crate) fn cheap() -> Self {
        let secret = b"cheap run tokens";
        Self {
            signing: EncodingKey::from_secret(secret),
            verifying: DecodingKey::from_secret(secret),
            algorithm: Algorithm::HS256,
            public_pem: String::new(),
        }
    }

    /// What `WORKER_LIGHTNING_PUBLIC_KEY` has to be: the base64 of the PEM of the public key (PKCS#1).
    pub(crate) fn public_base64(&self) -> String {
        STANDARD.encode(&self.public_pem)
    }

    /// Signs the token of a run claimed at `now`, valid to `expires` (both in seconds).
    pub(crate) fn sign_run(
        &self,
        run_id: &str,
        now: u64,
        expires: u64,
    ) -> Result<String, KeyError> {
        let claims = json!({"iss": "Lightning", "id": run_id, "sub": format!("run:{run_id}"), "nbf": now, "exp": expires});
        jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.signing)
            .map_err(KeyError::Unusable)
    }

    /// Checks every claim, as the server does at each join, without tolerance for clocks.
    pub(crate) fn verify_run(
        &self,
        token: &str,
        run_id: &str,
        now: u64,
    ) -> Result<(), TokenRefusal> {
        let claims = self.verify_any_run(token, now)?;
        require(&claims, "id", |id| id == run_id)?;
        require(&claims, "sub", |sub| *sub == format!("run:{run_id}"))
    }

    /// Checks a run token without knowing the run; the collections API is opened by any.
    pub(crate) fn verify_any_run(
        &self,
        token: &str,
        now: u64,
    ) -> Result<Map<String, Value>, TokenRefusal> {
        let claims = verified(token, &self.verifying, self.algorithm)?;
        require(&claims, "iss", |iss| iss == "Lightning")?;
        require(&claims, "nbf", |nbf| {
            nbf.as_u64().is_some_and(|nbf| nbf <= now)
        })?;
        require(&claims, "exp", |exp| {
            exp.as_u64().is_some_and(|exp| exp > now)
        })?;
        Ok(claims)
    }
}

/// Checks a worker token (protocol spec, section 1.2): HS256 over the UTF-8 bytes of the secret; `iss`, `iat` and
/// `worker_id` are there; `nbf` only counts when present.
pub(crate) fn verify_worker(
    secret: &str,
    token: Option<&str>,
    now: u64,
) -> Result<(), TokenRefusal> {
    let token = token
        .filter(|token| !token.is_empty())
        .ok_or(TokenRefusal::Missing)?;
    let claims = verified(
        token,
        &DecodingKey::from_secret(secret.as_bytes()),
        Algorithm::HS256,
    )?;
    require(&claims, "iss", |iss| iss == "urn:openfn:worker")?;
    require(&claims, "iat", Value::is_number)?;
    require(&claims, "worker_id", |id| {
        id.as_str().is_some_and(|id| !id.is_empty())
    })?;
    if claims.contains_key("nbf") {
        require(&claims, "nbf", |nbf| {
            nbf.as_u64().is_some_and(|nbf| nbf <= now)
        })?;
    }
    Ok(())
}

/// The claims of a token whose signature is right. The library's own checks of claims are switched off, so that each
/// refusal can name its claim.
fn verified(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<Map<String, Value>, TokenRefusal> {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode(token, key, &validation)
        .map(|token| token.claims)
        .map_err(|_| TokenRefusal::Signature)
}

fn require(
    claims: &Map<String, Value>,
    name: &'static str,
    right: impl FnOnce(&Value) -> bool,
) -> Result<(), TokenRefusal> {
    if claims.get(name).is_some_and(right) {
        Ok(())
    } else {
        Err(TokenRefusal::Claim(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker_token(claims: &Value) -> String {
        jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            claims,
            &EncodingKey::from_secret(b"secret"),
        )
        .unwrap()
    }

    #[test]
    fn a_run_token_opens_its_run_until_it_expires() {
        let key = RunKey::test().unwrap();
        let token = key.sign_run("r1", 1000, 1300).unwrap();
        assert_eq!(key.verify_run(&token, "r1", 1000), Ok(()));
        assert_eq!(
            key.verify_run(&token, "r1", 1300),
            Err(TokenRefusal::Claim("exp"))
        );
        assert_eq!(
            key.verify_run(&token, "r1", 999),
            Err(TokenRefusal::Claim("nbf"))
        );
        assert_eq!(
            key.verify_run(&token, "r2", 1000),
            Err(TokenRefusal::Claim("id"))
        );
        assert_eq!(
            key.verify_run("x.y.z", "r1", 1000),
            Err(TokenRefusal::Signature)
        );
    }

    #[test]
    fn a_cheap_run_token_is_checked_like_any_other() {
        let key = RunKey::cheap();
        let token = key.sign_run("r1", 1000, 1300).unwrap();
        assert_eq!(key.verify_run(&token, "r1", 1000), Ok(()));
        assert_eq!(
            key.verify_run(&token, "r2", 1000),
            Err(TokenRefusal::Claim("id"))
        );
        assert_eq!(
            RunKey::test().unwrap().verify_run(&token, "r1", 1000),
            Err(TokenRefusal::Signature)
        );
    }

    #[test]
    fn the_public_key_reads_as_pkcs1_and_verifies() {
        let key = RunKey::test().unwrap();
        let pem = String::from_utf8(STANDARD.decode(key.public_base64()).unwrap()).unwrap();
        assert!(pem.starts_with("-----BEGIN RSA PUBLIC KEY-----\n"), "{pem}");
        let public = DecodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let token = key.sign_run("r1", 1000, 1300).unwrap();
        assert_eq!(
            verified(&token, &public, Algorithm::RS256).unwrap()["id"],
            "r1"
        );
    }

    #[test]
    fn a_worker_token_needs_the_secret_and_three_claims() {
        let good = json!({"worker_id": "a-b-c", "iat": 10, "iss": "urn:openfn:worker"});
        assert_eq!(
            verify_worker("secret", Some(&worker_token(&good)), 10),
            Ok(())
        );
        assert_eq!(
            verify_worker("other", Some(&worker_token(&good)), 10),
            Err(TokenRefusal::Signature)
        );
        assert_eq!(
            verify_worker("secret", None, 10),
            Err(TokenRefusal::Missing)
        );
        for name in ["worker_id", "iat", "iss"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert_eq!(
                verify_worker("secret", Some(&worker_token(&claims)), 10),
                Err(TokenRefusal::Claim(name))
            );
        }
        let early = json!({"worker_id": "a", "iat": 10, "iss": "urn:openfn:worker", "nbf": 11});
        assert_eq!(
            verify_worker("secret", Some(&worker_token(&early)), 10),
            Err(TokenRefusal::Claim("nbf"))
        );
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        assert!(matches!(RunKey::from_pem("hello"), Err(KeyError::NotRsa)));
        assert!(matches!(
            RunKey::from_pem("-----BEGIN X-----\nAAAA\n-----END X-----"),
            Err(KeyError::NotRsa)
        ));
    }
}

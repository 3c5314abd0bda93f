//! The little of DER that it takes to get the public half out of an RSA private key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The PKCS#1 public key (`SEQUENCE { modulus, exponent }`) of a private key in PEM form, PKCS#1 or PKCS#8.
pub(super) fn public_key(pem: &str) -> Option<Vec<u8>> {
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(|line| line.trim().chars())
        .collect();
    let der = STANDARD.decode(body).ok()?;
    let (outer, _) = element(&der, SEQUENCE)?;
    // Both kinds begin with a version; then PKCS#8 names the algorithm and holds a PKCS#1 key as bytes.
    let (_, rest) = element(outer, INTEGER)?;
    let rest = match element(rest, SEQUENCE) {
        Some((_algorithm, rest)) => {
            let (inner, _) = element(rest, OCTET_STRING)?;
            let (key, _) = element(inner, SEQUENCE)?;
            element(key, INTEGER)?.1
        }
        None => rest,
    };
    let (modulus, rest) = element(rest, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    let mut numbers = encode(INTEGER, modulus);
    numbers.extend(encode(INTEGER, exponent));
    Some(encode(SEQUENCE, &numbers))
}

/// A PEM text of this label.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every position is a character border.
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The content of the element at the front, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count > 4 {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(count)?;
        (
            bytes
                .iter()
                .fold(0usize, |length, byte| (length << 8) | usize::from(*byte)),
            rest,
        )
    };
    rest.split_at_checked(length)
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.extend(length.to_be_bytes().last());
    } else {
        let bytes: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect();
        out.extend((0x80 | bytes.len()).to_be_bytes().last());
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

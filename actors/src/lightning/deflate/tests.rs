//! Answers to the offer, and messages of servers of every kind.

use proptest::prelude::*;

use super::*;

const OURS: Agreed = Agreed::Deflate {
    server_keeps_context: false,
};
const KEEPING: Agreed = Agreed::Deflate {
    server_keeps_context: true,
};
const LIMIT: usize = 1 << 20;

fn now<T>(what: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(what)
}

#[test]
fn what_a_server_may_answer_is_taken() {
    for (answer, agreed_on) in [
        ("", Agreed::Plain),
        (" ", Agreed::Plain),
        ("permessage-deflate", KEEPING),
        (OFFER, OURS),
        ("permessage-deflate; server_no_context_takeover", OURS),
        ("permessage-deflate;client_no_context_takeover", KEEPING),
        (
            "permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
            OURS,
        ),
        (
            "permessage-deflate; server_max_window_bits = \"15\"",
            KEEPING,
        ),
    ] {
        assert_eq!(agreed(answer, true), Ok(agreed_on), "{answer:?}");
    }
}

#[test]
fn what_nobody_offered_ends_the_handshake() {
    for answer in [
        "permessage-bzip2",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; mystery",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        // Only a client that has offered it can do with a smaller window of its own.
        "permessage-deflate; client_max_window_bits=10",
    ] {
        assert!(agreed(answer, true).is_err(), "{answer:?}");
    }
    assert!(agreed("permessage-deflate", false).is_err());
}

/// One message as a server sends it: with or without reference to earlier ones.
fn compressed(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1024);
    compress
        .compress_vec(message, &mut out, FlushCompress::Sync)
        .unwrap();
    assert!(out.len() < out.capacity());
    out.truncate(out.len() - TAIL.len());
    out
}

#[test]
fn the_example_of_the_standard_is_read() {
    // RFC 7692, sections 7.2.3.1, 7.2.3.3 (no compression) and 7.2.3.4 (a final block).
    for message in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        let read = now(Inflater::new(OURS).inflate(message, LIMIT)).unwrap();
        assert_eq!(&read[..], b"Hello", "{message:x?}");
    }
    let empty = now(Inflater::new(OURS).inflate(&[0], LIMIT)).unwrap();
    assert!(empty.is_empty());
}

#[test]
fn a_server_that_keeps_its_context_is_understood() {
    let mut compress = Compress::new(Compression::fast(), false);
    let mut inflater = Inflater::new(KEEPING);
    let message = b"the same words again and again";
    let sizes: Vec<_> = (0..3)
        .map(|_| {
            let sent = compressed(&mut compress, message);
            assert_eq!(&now(inflater.inflate(&sent, LIMIT)).unwrap()[..], message);
            sent.len()
        })
        .collect();
    assert!(sizes[1] < sizes[0], "{sizes:?}");
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let mut compress = Compress::new(Compression::best(), false);
    let bomb = compressed(&mut compress, &vec![b' '; 4 * LIMIT]);
    assert!(bomb.len() < LIMIT / 100);
    let refused = now(Inflater::new(OURS).inflate(&bomb, LIMIT));
    assert!(matches!(refused, Err(InflateError::TooLarge(LIMIT))));
    let exact = compressed(
        &mut Compress::new(Compression::best(), false),
        &vec![b' '; LIMIT],
    );
    let read = now(Inflater::new(OURS).inflate(&exact, LIMIT)).unwrap();
    assert_eq!(
        (read.len(), read.iter().all(|byte| *byte == b' ')),
        (LIMIT, true)
    );
}

#[test]
fn garbage_is_refused() {
    for message in [&[0xff; 8][..], b"[null,\"1\"]", &[0x07]] {
        let refused = now(Inflater::new(OURS).inflate(message, LIMIT));
        assert!(matches!(refused, Err(InflateError::Corrupt)), "{message:?}");
    }
}

#[test]
fn what_is_compressed_already_does_not_pay() {
    let record = br#"{"id":"a1","name":"Amina","visits":[{"kind":"anc"}]},"#.repeat(1000);
    let random: Vec<u8> = (0..65_536)
        .map(|_| rand::random_range(b'0'..=b'z'))
        .collect();
    assert!(pays(&[record.into()]).unwrap());
    assert!(!pays(&[random.into()]).unwrap());
}

/// Records and noise, by turns.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0..200_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_server_reads_what_was_written_in_whatever_pieces(
        message in message(),
        piece in 1..100_000_usize,
    ) {
        let mut deflater = Deflater::new();
        let mut sent = Vec::new();
        for piece in message.chunks(piece) {
            deflater.add(piece).unwrap();
            sent.extend(deflater.part().into_iter().flatten());
        }
        sent.extend(deflater.finish().unwrap());
        let read = now(Inflater::new(OURS).inflate(&sent, 2 * LIMIT)).unwrap();
        prop_assert!(read == message, "{} bytes became {}", message.len(), read.len());
    }
}

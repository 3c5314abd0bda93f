//! What is written to a recording, and that no secret is in it.

use std::os::unix::fs::PermissionsExt as _;

use protocol::recording::{VERSION, read};

use super::*;

fn header() -> Header {
    Header {
        recording: VERSION,
        worker: "1".to_owned(),
        time: clock::now(),
        part: 1,
        data: false,
        settings: indexmap::IndexMap::new(),
    }
}

#[test]
fn what_is_taken_is_in_the_file_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let recorder = Recorder::start(&path, 1 << 20, header()).unwrap();
    let mut microphone = Microphone::new(Some(recorder.clone()));
    microphone.opened();
    microphone.sent(r#"["1","1","run:r","phx_join",{"token":"hush"}]"#);
    microphone.received(&SocketEventKind::Text("[]".into()));
    microphone.lost(&"cut".to_owned().into());
    recorder.finish();
    microphone.sent("[]");
    let text = std::fs::read_to_string(&path).unwrap();
    let records = read(&text).unwrap().records;
    assert_eq!(records.len(), 4, "{text}");
    assert!(!text.contains("hush"));
    assert!(records.iter().all(|record| record.socket == 1));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_full_file_is_kept_once_and_each_file_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    std::fs::write(&path, "from an earlier start").unwrap();
    let recorder = Recorder::start(&path, 200, header()).unwrap();
    let mut microphone = Microphone::new(Some(recorder.clone()));
    microphone.opened();
    for number in 0..20 {
        microphone.sent(&format!(r#"[null,"{number}","phoenix","heartbeat",{{}}]"#));
    }
    recorder.finish();
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 2);
    for path in [path, folder.path().join("r.jsonl.1")] {
        let recording = read(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(recording.header.part > 1 && !recording.records.is_empty());
    }
}

#[test]
fn what_finds_no_room_is_counted_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let recorder = Recorder::start(&path, u64::MAX, header()).unwrap();
    recorder.0.waiting.store(QUEUED_BYTES, Ordering::Relaxed);
    let microphone = Microphone::new(Some(recorder.clone()));
    microphone.sent("[]");
    recorder.0.waiting.store(0, Ordering::Relaxed);
    microphone.closed();
    recorder.finish();
    let text = std::fs::read_to_string(&path).unwrap();
    let records = read(&text).unwrap().records;
    assert_eq!(records[0].what, What::Dropped(1));
    assert_eq!(records.len(), 2);
}

#[test]
fn a_disk_that_is_full_ends_the_recording_and_nothing_else() {
    let full = Path::new("/dev/full");
    let tape = Tape {
        path: full.to_owned(),
        header: header(),
        most: u64::MAX,
        file: BufWriter::new(OpenOptions::new().write(true).open(full).unwrap()),
        bytes: 0,
    };
    let over = Arc::new(AtomicBool::new(false));
    let mut writer = Writer {
        tape,
        redactor: Redactor::new(false),
        waiting: Arc::default(),
        dropped: Arc::default(),
        over,
    };
    let (queue, records) = mpsc::sync_channel(2);
    queue
        .send((clock::now(), 1, Taken::What(What::Opened)))
        .unwrap();
    drop(queue);
    assert!(writer.write_all(&records).is_err());
}

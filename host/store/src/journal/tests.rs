use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::*;
use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Record {
    Begin(String),
    Done { count: u32 },
}

/// In memory where there is such a file system: a disk makes tests that do much wait.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn key(container_id: &str) -> Key {
    let text = str::to_owned;
    Key { network: text("net"), container_id: text(container_id), ifname: text("eth0"), kind: text("bridge") }
}

fn state(root: &TempDir) -> State {
    State::with_boot(&root.path().join("weft"), Boot::fixed("boot-1", None))
}

fn begin(text: &str) -> Record {
    Record::Begin(text.to_owned())
}

fn with_log(state: &State, text: &[u8]) -> PathBuf {
    let directory = state.root.join(ATTACHMENTS).join(key("c").digest());
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(LOG), text).unwrap();
    directory
}

fn lock(state: &State) -> Attachment<Record> {
    state.lock(&key("c"), None).unwrap()
}

fn found(state: &State) -> Option<Entry<Record>> {
    state.find(&key("c"), None).unwrap().and_then(|attachment| attachment.entry())
}

#[test]
fn records_come_back_in_order_until_they_are_removed() {
    let root = directory();
    let mut attachment = lock(&state(&root));
    assert_eq!(attachment.entry(), None);
    attachment.append(&begin("a\nb")).unwrap();
    attachment.append(&Record::Done { count: 3 }).unwrap();
    let records = vec![begin("a\nb"), Record::Done { count: 3 }];
    assert_eq!(attachment.entry().unwrap().records, records);
    drop(attachment);

    let state = state(&root);
    let expected = Entry { key: Some(key("c")), boot: Some("boot-1".to_owned()), void: false, records, problem: None };
    assert_eq!(found(&state), Some(expected.clone()));
    let listed = state.list::<Record>().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].entry, expected);
    assert!(listed[0].age() < Duration::from_secs(3600));

    lock(&state).remove().unwrap();
    assert_eq!(found(&state), None);
    assert_eq!(fs::read_dir(state.root.join(ATTACHMENTS)).unwrap().count(), 0);
}

#[test]
fn the_text_of_a_log_is_the_documented_one() {
    let root = directory();
    let mut attachment = lock(&state(&root));
    attachment.append(&Record::Done { count: 1 }).unwrap();
    let header =
        r#"{"format":1,"boot":"boot-1","key":{"network":"net","container_id":"c","ifname":"eth0","kind":"bridge"}}"#;
    assert_eq!(fs::read_to_string(attachment.path()).unwrap(), format!("{header}\n{{\"Done\":{{\"count\":1}}}}\n"));
}

#[test]
fn looking_makes_nothing_and_an_attachment_without_a_record_leaves_nothing() {
    let root = directory();
    let state = state(&root);
    assert_eq!(found(&state), None);
    assert!(state.list::<Record>().unwrap().is_empty());
    assert!(state.made::<Record>().unwrap().is_empty());
    assert!(!state.root.exists());
    drop(lock(&state));
    assert_eq!(fs::read_dir(state.root.join(ATTACHMENTS)).unwrap().count(), 0);
}

#[test]
fn a_log_torn_at_any_byte_gives_a_prefix_and_can_be_continued() {
    let root = directory();
    let state = state(&root);
    let records = [begin("one"), Record::Done { count: 22 }, begin("drei \u{1F980}")];
    let mut attachment = lock(&state);
    for record in &records {
        attachment.append(record).unwrap();
    }
    let text = fs::read(attachment.path()).unwrap();
    attachment.remove().unwrap();
    let mut seen = 0;
    for end in 0..=text.len() {
        let directory = with_log(&state, &text[..end]);
        let listed = state.list::<Record>().unwrap();
        assert_eq!(listed.len(), 1);
        let whole = text[..end].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(listed[0].entry.problem, (whole == 0).then_some(Problem::Empty), "cut at {end}");

        let mut attachment = lock(&state);
        let prefix = attachment.entry().map(|entry| entry.records).unwrap_or_default();
        assert_eq!(prefix, records[..whole.saturating_sub(1)], "cut at {end}");
        seen = seen.max(prefix.len());
        attachment.append(&begin("more")).unwrap();
        drop(attachment);
        let entry = found(&state).unwrap();
        assert_eq!(entry.records, [&prefix[..], &[begin("more")]].concat(), "cut at {end}");
        assert_eq!((entry.problem, entry.key), (None, Some(key("c"))));
        fs::remove_dir_all(directory).unwrap();
    }
    assert_eq!(seen, records.len());
}

#[test]
fn a_last_line_that_is_not_json_is_torn() {
    let root = directory();
    let state = state(&root);
    let mut text = log::header("boot-1", &key("c")).unwrap();
    text.extend(b"{\"Begin\":\"x\"}\n{\"Begi\n");
    with_log(&state, &text);
    let entry = found(&state).unwrap();
    assert_eq!((entry.records, entry.problem), (vec![begin("x")], None));
}

#[test]
fn what_cannot_be_read_is_reported_takes_no_record_and_can_be_started_over_or_removed() {
    let header = String::from_utf8(log::header("boot-1", &key("c")).unwrap()).unwrap();
    let unreadable =
        |line| move |problem: &Problem| matches!(problem, Problem::Unreadable { line: at, .. } if *at == line);
    type Is = Box<dyn Fn(&Problem) -> bool>;
    let cases: Vec<(String, usize, Is)> = vec![
        (format!("{header}{{\"Begin\":\"x\"}}\n{{\"Be\n{{\"Begin\":\"y\"}}\n"), 1, Box::new(unreadable(3))),
        (format!("{header}{{\"Newer\":1}}\n"), 0, Box::new(unreadable(2))),
        ("garbage\n{}\n".to_owned(), 0, Box::new(unreadable(1))),
        ("{\"format\":1,\"boot\":\"boot-1\"}\n{}\n".to_owned(), 0, Box::new(unreadable(1))),
        (
            format!("{}{{\"Begin\":\"x\"}}\n", header.replace(":1,", ":7,")),
            0,
            Box::new(|found| *found == Problem::Format(7)),
        ),
    ];
    for (text, readable, expected) in cases {
        let root = directory();
        let state = state(&root);
        with_log(&state, text.as_bytes());
        let listed = state.list::<Record>().unwrap();
        assert!(listed[0].entry.problem.as_ref().is_some_and(&expected), "{text}: {listed:?}");

        let mut attachment = lock(&state);
        let entry = attachment.entry().unwrap();
        assert_eq!(entry.records.len(), readable, "{text}");
        assert!(entry.problem.as_ref().is_some_and(&expected), "{text}: {entry:?}");
        let refused = attachment.append(&begin("z")).unwrap_err();
        assert!(matches!(refused, Error::NotAppendable { problem, .. } if expected(&problem)));
        attachment.restart().unwrap();
        attachment.append(&begin("z")).unwrap();
        assert_eq!(attachment.entry().unwrap().records, [begin("z")]);
        drop(attachment);

        with_log(&state, text.as_bytes());
        state.find_listed(&listed[0], None).unwrap().unwrap().remove().unwrap();
        assert!(state.list::<Record>().unwrap().is_empty());
    }
}

#[test]
fn a_journal_that_cannot_be_opened_is_not_removed_by_trying() {
    let root = directory();
    let state = state(&root);
    let directory = with_log(&state, b"");
    fs::remove_file(directory.join(LOG)).unwrap();
    std::os::unix::fs::symlink("elsewhere", directory.join(LOG)).unwrap();
    assert!(matches!(state.lock::<Record>(&key("c"), None), Err(Error::Io { action: "open", .. })));
    assert!(directory.join(LOG).is_symlink());
}

#[test]
fn a_journal_of_another_boot_is_void() {
    let root = directory();
    lock(&state(&root)).append(&begin("before")).unwrap();
    let state = State::with_boot(&root.path().join("weft"), Boot::fixed("boot-2", None));
    let mut attachment = lock(&state);
    let entry = attachment.entry().unwrap();
    assert!(entry.void && entry.problem.is_none());
    assert_eq!(entry.records, [begin("before")]);
    assert!(matches!(attachment.append(&begin("x")), Err(Error::NotAppendable { problem: Problem::Void, .. })));
    attachment.restart().unwrap();
    let entry = attachment.entry().unwrap();
    assert!(!entry.void && entry.records.is_empty());
    attachment.append(&begin("after")).unwrap();
    drop(attachment);
    assert_eq!(found(&state).unwrap().records, [begin("after")]);
}

#[test]
fn two_keys_with_one_digest_are_told_apart() {
    let root = directory();
    let state = state(&root);
    with_log(&state, &log::header("boot-1", &key("other")).unwrap());
    let Err(Error::Collision { found, .. }) = state.lock::<Record>(&key("c"), None) else { panic!("no collision") };
    assert_eq!(*found, key("other"));
    assert_eq!(state.list::<Record>().unwrap()[0].entry.key, Some(key("other")));
    let parts = |network: &str, id: &str| Key { network: network.to_owned(), ..key(id) }.digest();
    assert_ne!(parts("ab", "c"), parts("a", "bc"));
    assert_eq!(key("c").digest().len(), 32);
}

#[test]
fn json_carried_along_with_line_feeds_stays_one_record() {
    let root = directory();
    let state = state(&root);
    let raw = RawValue::from_string("{\n \"a\": \"x\\ny\"\n}".to_owned()).unwrap();
    state.lock::<Box<RawValue>>(&key("c"), None).unwrap().append(&raw).unwrap();
    let entry = state.find::<serde_json::Value>(&key("c"), None).unwrap().unwrap().entry().unwrap();
    assert_eq!(entry.records, [serde_json::json!({"a": "x\ny"})]);
}

#[test]
fn a_lock_that_is_held_names_its_holder_when_time_is_up() {
    let root = directory();
    let state = state(&root);
    let held = lock(&state);
    let Err(Error::Busy { path, holder }) = state.lock::<Record>(&key("c"), Some(Instant::now())) else {
        panic!("not busy")
    };
    assert_eq!(path, held.path().parent().unwrap());
    // Some kernels' /proc/locks give another device number than stat does; then nobody is named.
    assert!(holder.is_none_or(|pid| pid == i32::try_from(std::process::id()).unwrap()));
    drop(held);
    assert!(state.lock::<Record>(&key("c"), Some(Instant::now())).is_ok());
}

#[test]
fn one_at_a_time_is_inside_however_often_the_directory_is_removed() {
    let root = directory();
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (inside, root) = (&inside, &root);
            scope.spawn(move || {
                let state = state(root);
                for round in 0..100 {
                    let mut attachment = lock(&state);
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold one lock");
                    assert!(attachment.path().parent().unwrap().exists(), "locked a directory that is gone");
                    if (thread + round) % 3 != 0 {
                        attachment.append(&begin("x")).unwrap();
                    }
                    state.list::<Record>().unwrap();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    if (thread + round) % 2 == 0 {
                        attachment.remove().unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn shared_objects_are_recorded_once_and_forgotten_under_the_exclusive_lock() {
    let root = directory();
    let state = state(&root);
    let shared = state.share(None).unwrap();
    assert!(shared.record(&begin("br0")).unwrap());
    assert!(!shared.record(&begin("br0")).unwrap());
    assert!(shared.record(&begin("br1")).unwrap());
    let made = state.made::<Record>().unwrap();
    let mut objects: Vec<_> = made.iter().map(|made| made.object.clone().unwrap()).collect();
    objects.sort_by_key(|object| format!("{object:?}"));
    assert_eq!(objects, [begin("br0"), begin("br1")]);
    let file = fs::metadata(state.root.join("shared").join(&made[0].name)).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o600);
    drop(shared);

    fs::write(state.root.join("shared/.new-1-1"), b"killed here").unwrap();
    let exclusive = state.exclusive(None).unwrap();
    assert!(!state.root.join("shared/.new-1-1").exists());
    exclusive.forget(&made[0].name).unwrap();
    exclusive.forget(&made[0].name).unwrap();
    assert_eq!(state.made::<Record>().unwrap(), made[1..]);
}

#[test]
fn shared_objects_of_another_boot_are_nobodys() {
    let root = directory();
    state(&root).share(None).unwrap().record(&begin("br0")).unwrap();
    let state = State::with_boot(&root.path().join("weft"), Boot::fixed("boot-2", None));
    assert!(state.made::<Record>().unwrap().is_empty());
    assert!(state.share(None).unwrap().record(&begin("br0")).unwrap(), "made anew in this boot");
    assert_eq!(state.made::<Record>().unwrap().len(), 1);
}

#[test]
fn the_last_of_those_who_share_gets_the_exclusive_lock() {
    let root = directory();
    let state = state(&root);
    let (one, other) = (state.share(None).unwrap(), state.share(None).unwrap());
    assert!(matches!(state.exclusive(Some(Instant::now())), Err(Error::Busy { .. })));
    assert!(one.try_upgrade().unwrap().is_none());
    let alone = other.try_upgrade().unwrap().unwrap();
    assert!(matches!(state.share(Some(Instant::now())), Err(Error::Busy { .. })));
    drop(alone);
    assert!(state.share(Some(Instant::now())).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic_and_whole_lines_stay(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        records in proptest::collection::vec(any::<u32>(), 0..6),
        flip in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let _ = log::read::<Record>(&noise, "b");
        let mut text = log::header("b", &key("c")).unwrap();
        for count in &records {
            text.extend(log::line(&Record::Done { count: *count }).unwrap());
        }
        let read = log::read::<Record>(&text, "b");
        prop_assert_eq!(read.whole, text.len());
        let at = flip.index(text.len());
        let before = text[..at].iter().filter(|byte| **byte == b'\n').count();
        text[at] ^= 1 << bit;
        let read = log::read::<Record>(&text, "b");
        prop_assert!(read.whole <= text.len());
        if before > 0 {
            let expected: Vec<_> = records[..before - 1].iter().map(|count| Record::Done { count: *count }).collect();
            prop_assert!(read.entry.records.starts_with(&expected));
        }
    }
}

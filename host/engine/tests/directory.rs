//! What is loaded from a component directory, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests and their helpers")]

mod support;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use support::{delegate, delegate_with, request};
use weft_engine::compile::Put;
use weft_engine::host::NoHost;
use weft_engine::{Clock, Directory, Engine, Grants, Index, Kind, Limits, LoadError};

struct Fixture {
    bin_dir: tempfile::TempDir,
    engine: Engine,
}

impl Fixture {
    fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> Self {
        let bin_dir = tempfile::TempDir::new_in(parent).unwrap();
        let fixture = Self { bin_dir, engine: Engine::new(Clock::Thread).unwrap() };
        let (_, put) = fixture.directory().put(&fixture.engine, "x", &delegate("(i32.const 1024)"), &[]).unwrap();
        assert_eq!(put, Put::Compiled);
        fixture
    }

    /// Anew each time, as each process has it.
    fn directory(&self) -> Directory {
        Directory::in_bin_dir(self.bin_dir.path()).unwrap()
    }

    fn index(&self) -> Index {
        self.directory().find("x").unwrap().unwrap()
    }

    fn compiled(&self) -> PathBuf {
        self.directory().compiled().join(self.index().compiled)
    }

    fn load(&self) -> Result<(), LoadError> {
        let directory = self.directory();
        let index = directory.find("x")?.unwrap();
        let component = self.engine.load(&directory, &index, &Grants::usual(index.kind))?;
        component.add(&request(), &mut NoHost, &Limits::default()).unwrap();
        Ok(())
    }

    fn rewrite_index(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let path = self.directory().index("x");
        let mut index = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut index);
        std::fs::write(path, serde_json::to_vec(&index).unwrap()).unwrap();
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_installed_is_found_and_runs() {
    let fixture = Fixture::new();
    fixture.load().unwrap();
    let directory = fixture.directory();
    assert_eq!(directory.list().unwrap().len(), 1);
    assert_eq!(directory.installed().unwrap(), ["x"]);
    for nothing in ["y", "", "../x", ".x", "-x", "a/b", &"x".repeat(65)] {
        assert!(directory.find(nothing).unwrap().is_none(), "{nothing}");
    }
    for (path, expected) in [
        (directory.path().to_owned(), 0o755),
        (directory.compiled(), 0o755),
        (directory.index("x"), 0o644),
        (directory.wasm("x"), 0o644),
        (fixture.compiled(), 0o644),
    ] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, expected, "{}", path.display());
    }
}

#[test]
fn installing_the_same_again_changes_nothing_and_another_takes_its_place() {
    let fixture = Fixture::new();
    let (directory, before) = (fixture.directory(), fixture.index());
    let (index, put) = directory.put(&fixture.engine, "x", &delegate("(i32.const 1024)"), &[]).unwrap();
    assert_eq!((index, put), (before.clone(), Put::Unchanged));
    let (index, put) = directory.put(&fixture.engine, "x", &delegate("(i32.const 1028)"), &[]).unwrap();
    assert_eq!(put, Put::Compiled);
    assert_ne!(index.compiled, before.compiled);
    // Whoever has read the old index still finds its code.
    fixture.engine.load(&directory, &before, &Grants::usual(before.kind)).unwrap();
    fixture.load().unwrap();
}

#[test]
fn a_moved_or_copied_directory_works() {
    let fixture = Fixture::new();
    let elsewhere = tempfile::TempDir::new().unwrap();
    let copied =
        std::process::Command::new("cp").arg("-r").arg(fixture.directory().path()).arg(elsewhere.path()).status();
    assert!(copied.unwrap().success());
    std::fs::write(elsewhere.path().join("weft"), "").unwrap();
    symlink("weft", elsewhere.path().join("multus")).unwrap();
    let directory = Directory::beside(&elsewhere.path().join("multus")).unwrap();
    let index = directory.find("x").unwrap().unwrap();
    fixture.engine.load(&directory, &index, &Grants::usual(index.kind)).unwrap();
    // Installing there only takes note of where the files are now.
    let (renewed, put) = directory.put(&fixture.engine, "x", &delegate("(i32.const 1024)"), &[]).unwrap();
    assert_eq!(put, Put::Unchanged);
    assert_ne!(renewed.stamp, index.stamp);
}

#[test]
fn changed_code_is_not_run() {
    let fixture = Fixture::new();
    let path = fixture.compiled();
    let code = std::fs::read(&path).unwrap();
    let mut changed = code.clone();
    changed[code.len() / 2] ^= 1;
    for bytes in [changed.as_slice(), &code[..code.len() - 1], b"", b"\0asm"] {
        std::fs::write(&path, bytes).unwrap();
        let error = fixture.load().unwrap_err();
        assert!(matches!(error, LoadError::Tampered { .. }), "{error}");
    }
    let text = fixture.load().unwrap_err().to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(text.contains("weftctl compile --cni-bin-dir"), "{text}");
    // The same bytes again are as good as before, although the file's times aren't.
    std::fs::write(&path, &code).unwrap();
    fixture.load().unwrap();
}

#[test]
fn missing_and_stale_code_is_named_with_the_command_that_makes_it() {
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.compiled()).unwrap();
    let error = fixture.load().unwrap_err();
    assert!(matches!(error, LoadError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("weftctl compile --cni-bin-dir"), "{error}");

    let fixture = Fixture::new();
    fixture.rewrite_index(|index| index["engine"] = "wasmtime 1.2.3".into());
    let error = fixture.load().unwrap_err();
    assert!(matches!(&error, LoadError::Stale { found, .. } if found == "wasmtime 1.2.3"), "{error}");

    let fixture = Fixture::new();
    fixture.rewrite_index(|index| index["format"] = 7.into());
    let error = fixture.load().unwrap_err();
    assert!(matches!(&error, LoadError::Stale { found, .. } if found == "index format 7"), "{error}");

    // Installed for another engine only.
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.directory().index("x")).unwrap();
    let error = fixture.directory().find("x").unwrap_err();
    assert!(matches!(error, LoadError::Stale { .. }), "{error}");

    let fixture = Fixture::new();
    std::fs::write(fixture.directory().index("x"), "{").unwrap();
    let error = fixture.load().unwrap_err();
    assert!(matches!(error, LoadError::Index { .. }), "{error}");
    assert!(error.to_string().contains("weftctl install --cni-bin-dir"), "{error}");
}

#[test]
fn what_others_can_write_to_is_not_believed() {
    let paths: [fn(&Fixture) -> PathBuf; 5] = [
        |fixture| fixture.bin_dir.path().to_owned(),
        |fixture| fixture.directory().path().to_owned(),
        |fixture| fixture.directory().compiled(),
        |fixture| fixture.directory().index("x"),
        |fixture| fixture.compiled(),
    ];
    for path in paths {
        for bits in [0o020, 0o002] {
            let fixture = Fixture::new();
            let path = path(&fixture).canonicalize().unwrap();
            let before = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            mode(&path, before | bits);
            match fixture.load().unwrap_err() {
                LoadError::Permissions { path: at, .. } => assert_eq!(at, path),
                other => panic!("{other}"),
            }
            mode(&path, before);
            fixture.load().unwrap();
        }
    }
}

#[test]
fn what_belongs_to_somebody_else_or_is_a_link_is_not_believed() {
    let fixture = Fixture::new();
    let path = fixture.compiled();
    let elsewhere = path.with_extension("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(matches!(fixture.load().unwrap_err(), LoadError::Permissions { .. }));

    let fixture = Fixture::new();
    if std::os::unix::fs::chown(fixture.compiled(), Some(4321), None).is_err() {
        println!("SKIP: only root can give a file away");
        return;
    }
    let error = fixture.load().unwrap_err().to_string();
    assert!(error.contains("it belongs to user 4321"), "{error}");
}

#[test]
fn an_index_that_hides_an_import_links_nothing() {
    let fixture = Fixture::new();
    let wasm = delegate_with(
        r#"(import "weft:cni/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#,
        "(call $log (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 1024)",
    );
    fixture.directory().put(&fixture.engine, "x", &wasm, &[]).unwrap();
    assert_eq!(fixture.index().imports, ["weft:cni/log@0.1.0"]);
    assert_eq!(fixture.index().kind, Kind::Delegate);
    fixture.load().unwrap();
    fixture.rewrite_index(|index| index["imports"] = serde_json::json!([]));
    let error = fixture.load().unwrap_err();
    assert!(matches!(error, LoadError::Gate(_)), "{error}");
    assert!(error.to_string().contains("weft:cni/log@0.1.0"), "{error}");
}

const INNER: &str = "WEFT_TEST_NOEXEC";

#[test]
fn a_file_system_without_execution_is_named() {
    if let Some(mount_point) = std::env::var_os(INNER) {
        let mount_point = PathBuf::from(mount_point);
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "noexec", "none"])
            .arg(&mount_point)
            .status();
        assert!(mounted.unwrap().success());
        mode(&mount_point, 0o755);
        let fixture = Fixture::within(&mount_point);
        let error = fixture.load().unwrap_err();
        assert!(matches!(error, LoadError::Unmappable { .. }), "{error}");
        return;
    }
    let mount_point = tempfile::TempDir::new().unwrap();
    let possible = std::process::Command::new("unshare").args(["-rm", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("SKIP: no user and mount namespaces here");
        return;
    }
    let inner = std::process::Command::new("unshare")
        .args(["-rm", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_file_system_without_execution_is_named", "--nocapture"])
        .env(INNER, mount_point.path())
        .output()
        .unwrap();
    assert!(inner.status.success(), "{}", String::from_utf8_lossy(&inner.stdout));
}

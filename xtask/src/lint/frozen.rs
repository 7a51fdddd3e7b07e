//! Released contracts never change. `wit/frozen/VERSION/` is the contract as VERSION was released; `wit/frozen.sums` has
//! a line `SHA256  VERSION/FILE` for each of its files. Three ways to break the promise are caught: a file that differs
//! from its line, a line that differs from the one it had at some commit, and `wit/*.wit` that still names a released
//! version and is no longer the same.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::dist::hex;
use crate::run::{Workspace, output};

const SUMS: &str = "wit/frozen.sums";

type Sums = BTreeMap<String, String>;

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let wit = workspace.root.join("wit");
    let written = match std::fs::read_to_string(workspace.root.join(SUMS)) {
        Ok(text) => parse(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Sums::new(),
        Err(error) => return Err(error).context(SUMS),
    };
    let found = digests(&wit.join("frozen"))?;
    let mut wrong = differences(&written, &found);
    wrong.extend(changed_lines(workspace, &written)?);
    wrong.extend(current(&wit, &found)?);
    if !wrong.is_empty() {
        bail!("a released contract never changes; release a new version instead:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

fn parse(text: &str) -> Result<Sums> {
    let line = |line: &str| {
        let (sum, name) =
            line.split_once("  ").with_context(|| format!("{SUMS}: `{line}` is not `SHA256  VERSION/FILE`"))?;
        Ok((name.to_owned(), sum.to_owned()))
    };
    text.lines().filter(|text| !text.is_empty()).map(line).collect()
}

/// The digest of every file under the folder, by its path in it.
fn digests(folder: &Path) -> Result<Sums> {
    let mut sums = Sums::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(next) = todo.pop() {
        if !next.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&next).with_context(|| format!("list {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let content = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            sums.insert(name, hex(&Sha256::digest(content)));
        }
    }
    Ok(sums)
}

fn differences(written: &Sums, found: &Sums) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, sum) in written {
        match found.get(name) {
            None => wrong.push(format!("wit/frozen/{name} is gone")),
            Some(other) if other != sum => wrong.push(format!("wit/frozen/{name} is {other}, released as {sum}")),
            Some(_) => {}
        }
    }
    for name in found.keys().filter(|name| !written.contains_key(*name)) {
        wrong.push(format!("wit/frozen/{name} has no line in {SUMS} (run sha256sum in wit/frozen)"));
    }
    wrong
}

/// Lines that some commit removed or changed. Nothing where there is no history to look at.
fn changed_lines(workspace: &Workspace, written: &Sums) -> Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(&workspace.root).args(["log", "--format=", "--patch", "--no-color", "--", SUMS]);
    match output(&mut git) {
        Ok(history) => changed_in(&history, written),
        Err(_) => {
            println!("SKIP: frozen: no git history to compare {SUMS} with");
            Ok(Vec::new())
        }
    }
}

fn changed_in(history: &str, written: &Sums) -> Result<Vec<String>> {
    let released: Vec<&str> =
        history.lines().filter(|line| !line.starts_with("+++")).filter_map(|l| l.strip_prefix('+')).collect();
    let mut wrong = Vec::new();
    for (name, sum) in parse(&released.join("\n"))? {
        if written.get(&name) != Some(&sum) {
            wrong.push(format!("{SUMS}: {name} was released as {sum}"));
        }
    }
    Ok(wrong)
}

/// The contract in use, if its version was released already.
fn current(wit: &Path, found: &Sums) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(wit).with_context(|| format!("list {}", wit.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wit") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(sum) = version(&text).and_then(|version| found.get(&format!("{version}/{file}")))
            && *sum != hex(&Sha256::digest(&text))
        {
            wrong.push(format!("wit/{file} differs from the release whose version it names: give it the next version"));
        }
    }
    Ok(wrong)
}

/// The version in `package a:b@VERSION;`.
fn version(text: &str) -> Option<&str> {
    let line = text.lines().find_map(|line| line.strip_prefix("package "))?;
    line.split_once('@')?.1.split_once(';').map(|(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "package weft:cni@0.1.0;\ninterface a {}\n";

    fn sample() -> (tempfile::TempDir, Sums) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("frozen/0.1.0")).unwrap();
        std::fs::write(folder.path().join("frozen/0.1.0/cni.wit"), RELEASE).unwrap();
        std::fs::write(folder.path().join("cni.wit"), RELEASE).unwrap();
        let sums = digests(&folder.path().join("frozen")).unwrap();
        (folder, sums)
    }

    #[test]
    fn an_unchanged_release_passes() {
        let (folder, sums) = sample();
        let text: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        assert_eq!(differences(&parse(&text).unwrap(), &digests(&folder.path().join("frozen")).unwrap()), [""; 0]);
        assert_eq!(current(folder.path(), &sums).unwrap(), [""; 0]);
    }

    #[test]
    fn one_changed_byte_is_caught() {
        let (folder, sums) = sample();
        std::fs::write(folder.path().join("frozen/0.1.0/cni.wit"), RELEASE.replace('a', "b")).unwrap();
        let wrong = differences(&sums, &digests(&folder.path().join("frozen")).unwrap());
        assert!(wrong.len() == 1 && wrong[0].contains("0.1.0/cni.wit"), "{wrong:?}");
    }

    #[test]
    fn removed_and_unlisted_files_are_caught() {
        let (folder, sums) = sample();
        std::fs::rename(folder.path().join("frozen/0.1.0/cni.wit"), folder.path().join("frozen/0.1.0/new.wit"))
            .unwrap();
        let wrong = differences(&sums, &digests(&folder.path().join("frozen")).unwrap());
        assert!(wrong.len() == 2 && wrong[0].contains("gone") && wrong[1].contains("no line"), "{wrong:?}");
    }

    #[test]
    fn a_rewritten_sum_is_caught_by_history() {
        let history = "diff --git a/x b/x\n--- /dev/null\n+++ b/wit/frozen.sums\n@@ -0,0 +1 @@\n+aa  0.1.0/cni.wit\n";
        assert_eq!(changed_in(history, &parse("aa  0.1.0/cni.wit").unwrap()).unwrap(), [""; 0]);
        assert_eq!(changed_in(history, &parse("bb  0.1.0/cni.wit").unwrap()).unwrap().len(), 1);
        assert_eq!(changed_in(history, &Sums::new()).unwrap().len(), 1);
    }

    #[test]
    fn the_contract_in_use_may_not_keep_a_released_version_and_change() {
        let (folder, sums) = sample();
        std::fs::write(folder.path().join("cni.wit"), RELEASE.replace("a {}", "a { type b = u8; }")).unwrap();
        assert_eq!(current(folder.path(), &sums).unwrap().len(), 1);
        std::fs::write(folder.path().join("cni.wit"), RELEASE.replace("0.1.0", "0.2.0")).unwrap();
        assert_eq!(current(folder.path(), &sums).unwrap(), [""; 0]);
    }
}

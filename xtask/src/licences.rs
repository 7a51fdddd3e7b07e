//! The licence texts that must travel with what we ship: of every crate linked into weft, weftctl or a component, of
//! Rust's standard library and of musl. Read from the crates' sources as cargo unpacked them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::guests::Guest;
use crate::run::{Workspace, output};
use crate::toolchain::{self, NativeToolchain};

/// One text file with all of them, each text once, under the crates it covers.
pub(crate) fn third_party(workspace: &Workspace, native: &NativeToolchain, guests: &[Guest]) -> Result<String> {
    let programs = ["weft".to_owned(), "weftctl".to_owned()];
    let shipped: Vec<String> = guests.iter().filter(|guest| guest.shipped).map(|guest| guest.package.clone()).collect();
    let mut crates = linked(workspace, native.triple(), &programs)?;
    crates.extend(linked(workspace, toolchain::GUEST, &shipped)?);
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut bare = Vec::new();
    for (title, folder) in &crates {
        let found = licence_files(Path::new(folder))?;
        if found.is_empty() {
            bare.push(title.clone());
        }
        for text in found {
            texts.entry(text).or_default().insert(title.clone());
        }
    }
    texts.entry(MUSL.to_owned()).or_default().insert("musl libc (MIT)".to_owned());
    texts.entry(RUST.to_owned()).or_default().insert("Rust standard library (MIT OR Apache-2.0)".to_owned());
    Ok(render(&texts, &bare))
}

fn render(texts: &BTreeMap<String, BTreeSet<String>>, bare: &[String]) -> String {
    let mut out = String::from(
        "weft is licensed under Apache-2.0 (LICENSE). Its programs and components contain the works below, under the\n\
         licences that follow their names.\n",
    );
    // By the first crate they cover, so that the file does not jump about between releases.
    let mut sorted: Vec<_> = texts.iter().collect();
    sorted.sort_by_key(|(text, crates)| (crates.first(), *text));
    for (text, crates) in sorted {
        let _ = writeln!(out, "\n{}", "=".repeat(100));
        for title in crates {
            let _ = writeln!(out, "{title}");
        }
        let _ = writeln!(out, "\n{}", text.trim_end());
    }
    if !bare.is_empty() {
        let _ = writeln!(out, "\n{}", "=".repeat(100));
        let _ =
            writeln!(out, "Without a licence text of their own, under the terms their manifests name (texts above):\n");
        for title in bare {
            let _ = writeln!(out, "{title}");
        }
    }
    out
}

/// The crates from a registry that are linked into `roots`: title with licence, folder of the sources.
fn linked(workspace: &Workspace, triple: &str, roots: &[String]) -> Result<BTreeMap<String, String>> {
    let metadata =
        output(&mut workspace.cargo(["metadata", "--format-version", "1", "--locked", "--filter-platform", triple]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    walk(&metadata, roots).context("cargo metadata has another shape than expected")
}

fn walk(metadata: &Value, roots: &[String]) -> Option<BTreeMap<String, String>> {
    let packages: HashMap<&str, &Value> =
        metadata["packages"].as_array()?.iter().map(|p| Some((p["id"].as_str()?, p))).collect::<Option<_>>()?;
    let nodes: HashMap<&str, &Value> =
        metadata["resolve"]["nodes"].as_array()?.iter().map(|n| Some((n["id"].as_str()?, n))).collect::<Option<_>>()?;
    let is_root = |package: &Value| package["name"].as_str().is_some_and(|name| roots.iter().any(|root| root == name));
    let mut todo: Vec<&str> = packages.iter().filter(|(_, package)| is_root(package)).map(|(id, _)| *id).collect();
    let mut seen = BTreeSet::new();
    let mut crates = BTreeMap::new();
    while let Some(id) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        let package = packages.get(id)?;
        if is_macro(package) {
            continue;
        }
        if !package["source"].is_null() {
            let (name, version) = (package["name"].as_str()?, package["version"].as_str()?);
            let licence = package["license"].as_str().unwrap_or("see the text");
            let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
            crates.insert(format!("{name} {version} ({licence})"), folder.to_string_lossy().into_owned());
        }
        for dependency in nodes.get(id)?["deps"].as_array()? {
            if dependency["dep_kinds"].as_array()?.iter().any(|kind| kind["kind"].is_null()) {
                todo.push(dependency["pkg"].as_str()?);
            }
        }
    }
    Some(crates)
}

/// Macros run in the compiler: nothing of them is shipped but what they generate.
fn is_macro(package: &Value) -> bool {
    package["targets"].as_array().is_some_and(|targets| {
        targets.iter().any(|target| target["kind"].as_array().is_some_and(|k| k.iter().any(|k| k == "proc-macro")))
    })
}

fn licence_files(folder: &Path) -> Result<BTreeSet<String>> {
    let mut texts = BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        if path.is_file()
            && ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"].iter().any(|n| name.starts_with(n))
        {
            let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            texts.insert(String::from_utf8_lossy(&text).replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}

const RUST: &str =
    "Copyright (c) The Rust Project Contributors. Used under Apache-2.0, whose text is the file LICENSE.";

const MUSL: &str = "Copyright (c) 2005-2020 Rich Felker, et al.

Permission is hereby granted, free of charge, to any person obtaining
a copy of this software and associated documentation files (the
\"Software\"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be
included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND,
EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT,
TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_linked_is_listed() {
        let package = |name: &str, source: Value, kind: &str| {
            json!({"id": name, "name": name, "version": "1.0.0", "source": source,
            "license": "MIT", "manifest_path": format!("/r/{name}/Cargo.toml"), "targets": [{"kind": [kind]}]})
        };
        let uses = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                package("weft", Value::Null, "bin"), package("linked", json!("registry"), "lib"),
                package("inner", json!("registry"), "lib"), package("tested", json!("registry"), "lib"),
                package("macro", json!("registry"), "proc-macro"), package("built", json!("registry"), "lib"),
            ],
            "resolve": {"nodes": [
                {"id": "weft", "deps": [uses("linked", Value::Null), uses("tested", json!("dev")), uses("macro", Value::Null)]},
                {"id": "linked", "deps": [uses("inner", Value::Null), uses("built", json!("build"))]},
                {"id": "inner", "deps": []}, {"id": "tested", "deps": []}, {"id": "macro", "deps": []}, {"id": "built", "deps": []},
            ]},
        });
        let crates = walk(&metadata, &["weft".into()]).unwrap();
        assert_eq!(crates.keys().collect::<Vec<_>>(), ["inner 1.0.0 (MIT)", "linked 1.0.0 (MIT)"]);
    }

    #[test]
    fn a_text_that_two_crates_share_appears_once() {
        let texts = BTreeMap::from([("TEXT".to_owned(), BTreeSet::from(["a 1".to_owned(), "b 2".to_owned()]))]);
        let out = render(&texts, &["c 3".to_owned()]);
        assert_eq!(out.matches("TEXT").count(), 1);
        assert!(out.contains("a 1\nb 2\n") && out.contains("c 3"));
    }
}

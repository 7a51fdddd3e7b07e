//! `componentize CORE.wasm COMPONENT.wasm`: prints the size and the manifest of what it wrote.

#[path = "../src/component.rs"]
mod component;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [core, out] = arguments.as_slice() else { bail!("usage: componentize CORE.wasm COMPONENT.wasm") };
    let bytes = std::fs::read(core).with_context(|| format!("reading {core}"))?;
    let component = component::componentize(&bytes).with_context(|| format!("in {core}"))?;
    std::fs::write(out, &component).with_context(|| format!("writing {out}"))?;
    let mut text = format!("{out}: {} bytes", component.len());
    let decoded = wit_component::decode(&component).context("reading the component back")?;
    let resolve = decoded.resolve();
    for (_, world) in &resolve.worlds {
        for (key, item) in &world.imports {
            if let wit_parser::WorldItem::Interface { id, .. } = item {
                let functions: Vec<&str> = resolve.interfaces[*id].functions.keys().map(String::as_str).collect();
                text += &format!("\n  import {} {}", resolve.name_world_key(key), functions.join(" "));
            }
        }
        for key in world.exports.keys() {
            text += &format!("\n  export {}", resolve.name_world_key(key));
        }
    }
    #[allow(clippy::print_stdout, reason = "what it is for")]
    {
        println!("{text}");
    }
    Ok(())
}

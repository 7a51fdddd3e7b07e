//! The plugin that docs/plugins.md shows: it compiles, its tests run, and the page shows exactly this.

#[path = "guide/dummy.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "in a crate of its own it is exported")]
mod dummy;

#[test]
fn the_guide_shows_what_compiles() {
    let page = include_str!("../../../docs/plugins.md");
    let shown = ["```rust\n", include_str!("guide/dummy.rs"), "```\n"].concat();
    assert!(page.contains(&shown), "docs/plugins.md must show tests/guide/dummy.rs as it is");
}

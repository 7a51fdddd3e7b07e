//! What the store costs on the way of an ADD: `cargo run --release -p weft-store --example measure [directory]`
//! (a tmpfs, by default `/dev/shm`).

#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use weft_store::{Boot, Key, Owner, Pool, State};

const ROUNDS: u32 = 2000;

fn median(mut round: impl FnMut(u32) -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let start = Instant::now();
        round(number)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn main() -> Result<(), Box<dyn Error>> {
    let base = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "/dev/shm".to_owned()));
    let root = base.join(format!("weft-measure-{}", std::process::id()));
    let record = serde_json::json!({"operation": "x".repeat(300), "undo": {"kind": "none"}});
    let key = |number: u32| Key {
        network: "net".to_owned(),
        container_id: format!("{number:064}"),
        ifname: "eth0".to_owned(),
        kind: "bridge".to_owned(),
    };
    let journal = median(|number| {
        let state = State::open(&root.join("state"));
        let mut attachment = state.lock(&key(number), None)?;
        for _ in 0..3 {
            attachment.append(&record)?;
        }
        Ok(attachment.remove()?)
    })?;
    println!("journal: open, lock, header, 3 records, remove  {journal:?}");
    let boot = Boot::current()?;
    let pool = Pool::open(&root.join("leases"), "net", &boot)?;
    for taken in [0, 50, 250] {
        for number in 0..taken {
            let mut locked = pool.lock(None)?;
            if locked.reserve(0, format!("10.0.0.{number}").parse()?)? {
                locked.commit(&Owner::new(&format!("{number:063}x"), "eth0"))?;
            }
        }
        let lease = median(|number| {
            let owner = Owner::new(&format!("{number:064}"), "eth0");
            let mut locked = pool.lock(None)?;
            if let Some(ip) = locked.first_free("10.0.0.0".parse()?, "10.0.255.255".parse()?)? {
                locked.reserve(0, ip)?;
                locked.commit(&owner)?;
                pool.lock(None)?.release_ips(&owner, &[ip])?;
            }
            Ok(())
        })?;
        println!("leases: lock, first free, commit, release, {taken} others  {lease:?}");
    }
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

//! Looking at namespaces the way a user does, and sending real traffic between them.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::pod::Netns;
use super::text;

/// How long traffic that should arrive may take: duplicate address detection of a new IPv6 gateway included.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long to wait before traffic counts as lost.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// `ip <line>` in a namespace; it has to succeed.
#[track_caller]
pub fn ip(netns: &Netns, line: &str) -> String {
    run(netns, "ip", &line.split_whitespace().collect::<Vec<_>>())
}

/// `ip -json -details <line>` in a namespace.
#[track_caller]
pub fn ip_json(netns: &Netns, line: &str) -> Vec<Value> {
    let mut arguments = vec!["-json", "-details"];
    arguments.extend(line.split_whitespace());
    let output = run(netns, "ip", &arguments);
    if output.trim().is_empty() {
        return Vec::new();
    }
    let objects: Vec<Value> =
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("ip {line}: {error}\n{output}"));
    // Older iproute2 prints `{}` for objects that a filter left out.
    objects.into_iter().filter(|object| object.as_object().is_none_or(|fields| !fields.is_empty())).collect()
}

/// The objects of `nft -j list ruleset` in a namespace, without the one about nft itself.
#[track_caller]
pub fn nft_json(netns: &Netns) -> Vec<Value> {
    let output = run(netns, "nft", &["-j", "list", "ruleset"]);
    let ruleset: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("nft: {error}\n{output}"));
    let objects = ruleset["nftables"].as_array().cloned().unwrap_or_default();
    objects.into_iter().filter(|object| object.get("metainfo").is_none()).collect()
}

#[track_caller]
fn run(netns: &Netns, program: &str, arguments: &[&str]) -> String {
    let output = netns
        .run(|| Command::new(program).args(arguments).output())
        .unwrap_or_else(|error| panic!("{program} doesn't start: {error}"));
    assert!(
        output.status.success(),
        "{program} {} ({}): {}",
        arguments.join(" "),
        netns.path().display(),
        text(&output.stderr)
    );
    text(&output.stdout).into_owned()
}

/// Pings `destination` until an answer comes.
///
/// # Panics
/// If none comes within a few seconds.
#[track_caller]
pub fn ping(from: &Netns, destination: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !ping_once(from, destination) {
        assert!(Instant::now() < deadline, "no answer from {destination} to {}", from.path().display());
    }
}

/// Pings `destination` once; no answer may come.
#[track_caller]
pub fn ping_fails(from: &Netns, destination: &str) {
    assert!(!ping_once(from, destination), "{destination} answers {}", from.path().display());
}

fn ping_once(from: &Netns, destination: &str) -> bool {
    let family = if destination.contains(':') { "-6" } else { "-4" };
    let mut command = if Path::new("/bin/ping").exists() {
        Command::new("ping")
    } else {
        let mut command = Command::new("busybox");
        command.arg("ping");
        command
    };
    command.args([family, "-c", "1", "-W", "1", destination]);
    from.run(|| command.output()).expect("ping starts").status.success()
}

/// Sends a line over TCP from one namespace to `dial` and back; a server in the other listens on `listen` (port 0: the
/// port of `dial`). Returns the client's address as the server saw it.
///
/// # Errors
/// Whatever the client met; a time-out after half a second without a connection.
pub fn tcp(from: &Netns, to: &Netns, listen: SocketAddr, dial: SocketAddr) -> io::Result<SocketAddr> {
    let listener = to.run(|| bind_listener(listen))?;
    let stop = listener.try_clone()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> io::Result<SocketAddr> {
            let (mut stream, client) = listener.accept()?;
            let mut line = [0; 5];
            stream.read_exact(&mut line)?;
            stream.write_all(&line)?;
            Ok(client)
        });
        let exchange = from.run(|| -> io::Result<()> {
            let mut stream = TcpStream::connect_timeout(&dial, IMPATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"hello")?;
            let mut line = [0; 5];
            stream.read_exact(&mut line)
        });
        if exchange.is_err() {
            // Wakes the server, which nobody reached.
            let _ =
                nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&stop), nix::sys::socket::Shutdown::Both);
        }
        let client = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        exchange.and(client)
    })
}

fn bind_listener(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Like [`tcp`], with one datagram each way.
///
/// # Errors
/// A time-out after half a second without an answer.
pub fn udp(from: &Netns, to: &Netns, listen: SocketAddr, dial: SocketAddr) -> io::Result<SocketAddr> {
    let server = to.run(|| UdpSocket::bind(listen))?;
    server.set_read_timeout(Some(IMPATIENCE))?;
    let any: SocketAddr = match dial.ip() {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let client = from.run(|| UdpSocket::bind(any))?;
    client.set_read_timeout(Some(IMPATIENCE))?;
    client.connect(dial)?;
    client.send(b"hello")?;
    let mut line = [0; 16];
    let (length, seen) = server.recv_from(&mut line)?;
    server.send_to(&line[..length], seen)?;
    client.recv(&mut line)?;
    Ok(seen)
}

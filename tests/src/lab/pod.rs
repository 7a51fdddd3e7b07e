//! Network namespaces by path, and pods, which are such a namespace and a container id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, by a path that leads to it.
#[derive(Clone, Debug)]
pub struct Netns {
    path: PathBuf,
}

impl Netns {
    /// The namespace of this test's process: the node's.
    pub(super) fn own() -> Self {
        Self { path: PathBuf::from(format!("/proc/{}/ns/net", std::process::id())) }
    }

    /// The namespace behind `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path, as a runtime would give it in `CNI_NETNS`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a thread inside the namespace; processes it starts are inside too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("into the namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// A pod: a named network namespace under `/run/netns`, with `lo` down, and a container id. The namespace ends with it.
#[derive(Debug)]
pub struct Pod {
    name: String,
    netns: Netns,
}

impl Pod {
    /// A new namespace `/run/netns/<name>`; `name` is the container id as well.
    pub fn new(name: &str) -> Self {
        let path = Path::new("/run/netns").join(name);
        File::create_new(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let target = path.clone();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
            mount(Some("/proc/thread-self/ns/net"), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .expect("the namespace's file");
        })
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Self { name: name.to_owned(), netns: Netns::at(path) }
    }

    /// Name and container id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Runs `work` inside, see [`Netns::run`].
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.netns.run(work)
    }

    /// Removes the namespace and its file, as a runtime or a reboot would before DEL comes.
    pub fn remove_netns(&self) {
        if self.netns.path.exists() {
            let _ = umount2(&self.netns.path, MntFlags::MNT_DETACH);
            std::fs::remove_file(&self.netns.path)
                .unwrap_or_else(|error| panic!("{}: {error}", self.netns.path.display()));
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // What doesn't go (a runtime may have mounted over `/run/netns`) goes with the lab.
        let _ = umount2(&self.netns.path, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_file(&self.netns.path);
    }
}

//! What a journal says of one request: written before each change, read by DEL, CHECK and GC.
//!
//! Owns: the record types and what they add up to. Invariant: every effect stands here before it happens, so taking
//! back all of it in reverse order is right wherever the process ended; taking back what never happened does nothing.

use serde::{Deserialize, Serialize};
use weft_executor::operation::Step;
use weft_executor::wanted::Wanted;
use weft_json::Value;

use std::net::IpAddr;
use std::path::PathBuf;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "record")]
pub enum Record {
    /// The request.
    Begin(Begin),
    /// Addresses that are about to be reserved.
    Lease(Lease),
    /// An executable that is about to run.
    Native(Native),
    /// What it printed.
    NativeResult {
        /// Which: its position among the executables.
        position: usize,
        /// Its CNI result.
        result: Value,
    },
    /// The state that one delegate wants, every name settled.
    Wanted(Box<Plan>),
    /// Operations that are about to be carried out.
    Steps {
        /// In order.
        steps: Vec<Step>,
    },
    /// The attachment stands.
    Commit {
        /// What the runtime got.
        result: Value,
    },
}

/// The request as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// The configuration, without `prevResult`.
    pub config: Value,
    /// CNI_NETNS.
    pub netns: String,
    /// Device and inode of the network namespace: whether a later request means the same one.
    pub netns_id: (u64, u64),
    /// CNI_ARGS, as it was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub args: String,
    /// CNI_PATH, for the executables that DEL runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// Addresses of one pool, held by one owner (container id and interface).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Of the pool.
    pub data_dir: PathBuf,
    /// Of the pool.
    pub network: String,
    /// The owner's interface.
    pub ifname: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// An executable and what it ran with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Native {
    /// Its position among the executables of this request.
    pub position: usize,
    /// The file.
    pub program: PathBuf,
    /// The configuration, without `prevResult`.
    pub config: Value,
    /// CNI_IFNAME.
    pub ifname: String,
}

/// What one delegate of the request wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The component that planned it.
    pub delegate: String,
    /// The network it belongs to.
    pub network: String,
    /// The interface in the sandbox.
    pub ifname: String,
    /// The state.
    pub wanted: Wanted,
}

/// An effect, in the order in which they happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Addresses.
    Lease(Lease),
    /// An executable, with its result if it came to one.
    Native(Native, Option<Value>),
    /// Kernel changes.
    Steps(Vec<Step>),
}

/// What the records of a journal add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// None: it ended before anything happened.
    pub begin: Option<Begin>,
    /// What the delegates want, in order.
    pub plans: Vec<Plan>,
    /// What happened, in order.
    pub effects: Vec<Effect>,
    /// What the runtime got; None: the request never ended well.
    pub result: Option<Value>,
}

impl Story {
    /// Adds the records up.
    pub fn read(records: Vec<Record>) -> Self {
        let mut story = Self::default();
        for record in records {
            match record {
                Record::Begin(begin) => story.begin = Some(begin),
                Record::Lease(lease) => story.effects.push(Effect::Lease(lease)),
                Record::Native(native) => story.effects.push(Effect::Native(native, None)),
                Record::NativeResult { position, result } => {
                    for effect in &mut story.effects {
                        if let Effect::Native(native, slot) = effect
                            && native.position == position
                        {
                            *slot = Some(result.clone());
                        }
                    }
                }
                Record::Wanted(plan) => story.plans.push(*plan),
                Record::Steps { steps } => story.effects.push(Effect::Steps(steps)),
                Record::Commit { result } => story.result = Some(result),
            }
        }
        story
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_survive_json_and_add_up_in_order() {
        let native = Native { position: 0, program: "/p".into(), config: json!({"type": "p"}), ifname: "eth0".into() };
        let lease = Lease {
            data_dir: "/d".into(),
            network: "n".into(),
            ifname: "eth0".into(),
            addresses: vec!["10.0.0.2".parse().unwrap()],
        };
        let records = vec![
            Record::Lease(lease.clone()),
            Record::Native(native.clone()),
            Record::NativeResult { position: 0, result: json!({"ips": []}) },
            Record::Steps { steps: vec![] },
            Record::Commit { result: json!({"cniVersion": "1.0.0"}) },
        ];
        let text = serde_json::to_string(&records).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Record>>(&text).unwrap(), records);
        let story = Story::read(records);
        assert_eq!(
            story.effects,
            [Effect::Lease(lease), Effect::Native(native, Some(json!({"ips": []}))), Effect::Steps(vec![])]
        );
        assert!(story.result.is_some() && story.begin.is_none());
    }
}

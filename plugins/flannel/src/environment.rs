//! The file in which the overlay's daemon says what this node has.

use weft_sdk::types::{IpFamily, IpPrefix};

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Networks of the overlay, each once, IPv4 first.
    pub(crate) networks: Vec<IpPrefix>,
    /// This node's part of each family, IPv4 first, host bits cleared.
    pub(crate) subnets: Vec<IpPrefix>,
    /// Bytes, as text.
    pub(crate) mtu: String,
    /// The daemon masquerades, so the delegate need not.
    pub(crate) masquerades: bool,
}

/// Reads `KEY=VALUE` lines; lines with other keys count for nothing. The error says what is wrong.
pub(crate) fn parse(content: &[u8]) -> Result<Environment, String> {
    let text = std::str::from_utf8(content).map_err(|_| "is not text".to_owned())?;
    let mut networks = [Vec::new(), Vec::new()];
    let mut subnets = [None, None];
    let (mut mtu, mut masquerades) = (None, None);
    for line in text.lines() {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        let wrong = |allowed: &str| ["has ", key, "=", value, ", which is not ", allowed].concat();
        match key {
            "FLANNEL_NETWORK" | "FLANNEL_IPV6_NETWORK" => {
                let (at, family) = family(key);
                for part in value.split(',') {
                    let network = prefix(part, family).ok_or_else(|| wrong("a list of networks of this family"))?;
                    if !networks[at].contains(&network) {
                        networks[at].push(network);
                    }
                }
            }
            "FLANNEL_SUBNET" | "FLANNEL_IPV6_SUBNET" => {
                let (at, family) = family(key);
                subnets[at] = Some(prefix(value, family).ok_or_else(|| wrong("a network of this family"))?);
            }
            "FLANNEL_MTU" => {
                let number: u32 = value.parse().map_err(|_| wrong("a number"))?;
                mtu = Some(number.to_string());
            }
            "FLANNEL_IPMASQ" => masquerades = Some(value == "true"),
            _ => {}
        }
    }
    let networks = networks.concat();
    let subnets: Vec<IpPrefix> = subnets.into_iter().flatten().collect();
    let mut missing = Vec::new();
    if networks.is_empty() {
        missing.push("FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK");
    }
    if subnets.is_empty() {
        missing.push("FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET");
    }
    if mtu.is_none() {
        missing.push("FLANNEL_MTU");
    }
    if masquerades.is_none() {
        missing.push("FLANNEL_IPMASQ");
    }
    match (mtu, masquerades) {
        (Some(mtu), Some(masquerades)) if missing.is_empty() => Ok(Environment { networks, subnets, mtu, masquerades }),
        _ => Err(["is missing ", &missing.join(", ")].concat()),
    }
}

fn family(key: &str) -> (usize, IpFamily) {
    if key.contains("IPV6") { (1, IpFamily::V6) } else { (0, IpFamily::V4) }
}

fn prefix(text: &str, family: IpFamily) -> Option<IpPrefix> {
    IpPrefix::parse(text.trim()).filter(|prefix| prefix.address.family() == family).map(IpPrefix::network)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";

    fn texts(prefixes: &[IpPrefix]) -> Vec<String> {
        prefixes.iter().map(IpPrefix::to_string).collect()
    }

    #[test]
    fn both_families_and_several_networks() {
        let more = "FLANNEL_IPV6_SUBNET=2001:db8:1::1/64\nFLANNEL_IPV6_NETWORK=2001:db8::/32\nSOMETHING=else\nnoise\n";
        let environment = parse([PLAIN, more].concat().as_bytes()).unwrap();
        assert_eq!(texts(&environment.networks), ["10.1.0.0/16", "2001:db8::/32"]);
        assert_eq!(texts(&environment.subnets), ["10.1.17.0/24", "2001:db8:1::/64"]);
        assert_eq!((environment.mtu.as_str(), environment.masquerades), ("1472", true));
        let several = PLAIN.replace("10.1.0.0/16", "10.1.0.0/16,10.9.0.0/16,10.1.0.0/16").replace("true", "yes");
        let environment = parse(several.as_bytes()).unwrap();
        assert_eq!(texts(&environment.networks), ["10.1.0.0/16", "10.9.0.0/16"]);
        assert!(!environment.masquerades);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err();
        let all =
            "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ";
        assert_eq!(error(""), ["is missing ", all].concat());
        assert_eq!(error(&PLAIN.replace("FLANNEL_MTU", "X")), "is missing FLANNEL_MTU");
        assert!(error(&PLAIN.replace("1472", "big")).starts_with("has FLANNEL_MTU=big"));
        assert!(
            error(&PLAIN.replace("10.1.17.1/24", "2001:db8::1/64")).starts_with("has FLANNEL_SUBNET=2001:db8::1/64")
        );
        assert!(error("FLANNEL_NETWORK\n").starts_with("has FLANNEL_NETWORK="));
        assert_eq!(parse(b"\xff").unwrap_err(), "is not text");
    }
}

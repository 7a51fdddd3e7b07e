//! Resolver settings out of a file in the form of resolv.conf(5).

use weft_sdk::types::Dns;

/// Keywords that are none of CNI's, comments and what isn't text are passed over.
pub(crate) fn parse(content: &[u8]) -> Dns {
    let mut dns = Dns::default();
    for line in content.split(|&byte| byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut words = line.split_ascii_whitespace();
        let keyword = words.next().unwrap_or_default();
        let words = words.map(str::to_owned);
        match keyword {
            "nameserver" => dns.nameservers.extend(words.take(1)),
            "domain" => dns.domain = words.take(1).next().or(dns.domain.take()),
            "search" => dns.search.extend(words),
            "options" => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cni_has_a_field_for_is_taken() {
        let text = "# a comment\n; another\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 \n\ndomain example.org\n\
                    search a.example b.example\nsearch c.example\noptions ndots:5 timeout:1\nsortlist 192.0.2.0\nnameserver\n";
        let dns = parse(text.as_bytes());
        assert_eq!(dns.nameservers, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(dns.domain.as_deref(), Some("example.org"));
        assert_eq!(dns.search, ["a.example", "b.example", "c.example"]);
        assert_eq!(dns.options, ["ndots:5", "timeout:1"]);
        assert_eq!(parse(b"\xff\xfe\ndomain\n"), Dns::default());
    }
}

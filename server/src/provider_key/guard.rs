//! Owns: which addresses a URL of a user's (their Ollama, their webhook) may lead to: resolved once, checked, and pinned for
//! the request.
//! Invariant: metadata and link-local are never reached, private ranges only where the operator allows it (field failure
//! 15); what was checked is what is connected to, so a name that changes its mind leads nowhere else.

use crate::error::{Error, Result};
use crate::{Server, http_client};
use domain::denial::Denial;
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A client that reaches the address of `url` alone, and the address.
pub async fn client_for(server: &Server, url: &str) -> Result<(reqwest::Client, Url)> {
    client_for_one_like(server, url, "Write only where it is, such as https://ollama.example.com.").await
}

/// The same; `remedy` shows how such an address is written.
pub async fn client_for_one_like(server: &Server, url: &str, remedy: &str) -> Result<(reqwest::Client, Url)> {
    let invalid = |problem: &str, remedy: &str| Error::from(Denial::invalid("url", problem, remedy));
    let url = Url::parse(url).map_err(|_| invalid("This is no address", remedy))?;
    if !matches!(url.scheme(), "https" | "http") || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("Only http:// and https:// without a password in it", "Put a token in its own field."));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("An address with ? or #", remedy));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(invalid("An address without a host", remedy));
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let found = tokio::time::timeout(Duration::from_secs(5), tokio::net::lookup_host((host.as_str(), port)));
    let addresses: Vec<SocketAddr> = match found.await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let Some(first) = addresses.first() else {
        return Err(invalid("This host cannot be found", "Look at its name."));
    };
    let allows_private = server.config.allow_private_urls;
    for address in &addresses {
        match reach(address.ip()) {
            Reach::Public => {}
            Reach::Private if allows_private => {}
            Reach::Private => {
                return Err(invalid(
                    "This is a private address, which this installation does not allow",
                    "Use a tunnel.",
                ));
            }
            Reach::Never => return Err(invalid("This address is never asked from here", "Use a public address.")),
        }
    }
    Ok((http_client::build_pinned(&host, *first)?, url))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    /// Loopback and private ranges.
    Private,
    /// Link-local, metadata, multicast, unspecified, and what stands for another address.
    Never,
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let [first, second, third, _] = ip.octets();
    let never = ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        || first == 0
        || first >= 240
        // Metadata services outside link-local: Alibaba, Oracle and Azure.
        || ip == Ipv4Addr::new(100, 100, 100, 200)
        || ip == Ipv4Addr::new(168, 63, 129, 16)
        || (first, second, third) == (192, 0, 0);
    let shared = first == 100 && (64..128).contains(&second);
    let benchmarks = first == 198 && (18..20).contains(&second);
    if never {
        Reach::Never
    } else if ip.is_private() || ip.is_loopback() || shared || benchmarks {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let [first, second, ..] = ip.segments();
    if ip.is_loopback() {
        return Reach::Private;
    }
    // Mapped, NAT64, 6to4 and Teredo addresses carry a v4 address; the plain form is to be used.
    let carries_v4 = ip.to_ipv4_mapped().is_some()
        || ip.to_ipv4().is_some()
        || (first, second) == (0x64, 0xff9b)
        || first == 0x2002
        || (first, second) == (0x2001, 0);
    let metadata = ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    if carries_v4 || metadata || ip.is_unspecified() || ip.is_multicast() || first & 0xffc0 == 0xfe80 {
        Reach::Never
    } else if first & 0xfe00 == 0xfc00 {
        Reach::Private
    } else {
        Reach::Public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_is_what_it_is() {
        for (text, expected) in [
            ("93.184.215.14", Reach::Public),
            ("2606:4700::1111", Reach::Public),
            ("127.0.0.1", Reach::Private),
            ("10.1.2.3", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("::1", Reach::Private),
            ("fd12::1", Reach::Private),
            ("169.254.169.254", Reach::Never),
            ("100.100.100.200", Reach::Never),
            ("168.63.129.16", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("255.255.255.255", Reach::Never),
            ("fe80::1", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("::ffff:93.184.215.14", Reach::Never),
            ("64:ff9b::a9fe:a9fe", Reach::Never),
            ("2002:a9fe:a9fe::", Reach::Never),
            ("::", Reach::Never),
        ] {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }

    /// Decimal, octal and hexadecimal forms are one address to the parser, which is then checked.
    #[test]
    fn other_spellings_are_the_same_address() {
        for text in ["http://2852039166/", "http://0251.0376.0251.0376/", "http://0xa9fea9fe/", "http://169.254.43518/"]
        {
            assert_eq!(Url::parse(text).unwrap().host_str(), Some("169.254.169.254"), "{text}");
        }
    }
}

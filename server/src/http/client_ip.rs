//! Owns: the address a request came from.
//! Invariant: a forwarded address is believed only from a proxy that the settings trust; none is by default.

use crate::Server;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The address a request came from. An extractor; put on every request by the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

/// A range of addresses, such as `10.0.0.0/8` or `192.0.2.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for ClientIp {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Self::Rejection> {
        parts.extensions.get::<ClientIp>().copied().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Notes the client's address on the request. Without the socket's address there is none, and what needs one refuses.
pub async fn note(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let ip = client_of(peer.ip(), request.headers(), &server.config.trusted_proxies);
        request.extensions_mut().insert(ClientIp(ip));
    }
    next.run(request).await
}

/// From the nearest hop outwards: the first address that is not a trusted proxy's. What lies beyond could be forged.
fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut nearest = peer.to_canonical();
    let forwarded = headers.get_all("x-forwarded-for").iter().rev();
    let hops = forwarded.flat_map(|value| value.to_str().unwrap_or("unreadable").rsplit(',').map(parse_hop));
    for hop in hops {
        if !is_trusted(nearest) {
            return nearest;
        }
        match hop {
            Some(ip) => nearest = ip,
            None => return nearest,
        }
    }
    nearest
}

/// `192.0.2.7`, `192.0.2.7:5678`, `2001:db8::1` or `[2001:db8::1]:5678`.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let ip = text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(ip.to_canonical())
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        let (network, ip, width) = match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => (u128::from(network.to_bits()), u128::from(ip.to_bits()), 32),
            (IpAddr::V6(network), IpAddr::V6(ip)) => (network.to_bits(), ip.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let outside = width - self.prefix;
        network.checked_shr(outside).unwrap_or(0) == ip.checked_shr(outside).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Network, String> {
        let problem = || format!("`{text}` is not an address or a range such as 10.0.0.0/8");
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| problem())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(width), str::parse).map_err(|_| problem())?;
        if prefix > width { Err(problem()) } else { Ok(Network { address, prefix }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        client_of(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        assert_eq!(client("203.0.113.5", &["192.0.2.1"], &[]), "203.0.113.5");
        assert_eq!(client("203.0.113.5", &["192.0.2.1"], &["10.0.0.0/8"]), "203.0.113.5");
        assert_eq!(client("10.1.2.3", &["192.0.2.1"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(client("::ffff:10.1.2.3", &["192.0.2.1:4711"], &["10.0.0.0/8"]), "192.0.2.1");
    }

    #[test]
    fn what_a_client_put_in_front_is_not_believed() {
        assert_eq!(client("10.1.2.3", &["198.51.100.9, 192.0.2.1"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(client("10.1.2.3", &["198.51.100.9", "192.0.2.1, 10.9.9.9"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(client("10.1.2.3", &["192.0.2.1, nonsense"], &["10.0.0.0/8"]), "10.1.2.3");
        assert_eq!(client("10.1.2.3", &[], &["10.0.0.0/8"]), "10.1.2.3");
    }

    #[test]
    fn ranges_are_checked() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "proxy.example.com", "10.0.0.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("203.0.113.5".parse().unwrap()));
        assert!("2001:db8::/32".parse::<Network>().unwrap().contains("2001:db8:1::7".parse().unwrap()));
    }
}

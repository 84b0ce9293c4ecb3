//! Which addresses a webhook may lead to: globally routed ones, which belong to no inner network.
//!
//! The registries of special-purpose addresses (RFC 6890) say which are not. IPv6 is taken the other way round: only
//! what is handed out for global use (`2000::/3`) is allowed, less what is special in it. An address that carries an
//! IPv4 address in itself is refused, whatever it carries: a gateway on the way might unpack it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::Addrs;

/// IPv4 networks without global routing, each with its length.
const SPECIAL_V4: [([u8; 4], u32); 17] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, and the metadata of clouds
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 31, 196, 0], 24), // AS112
    ([192, 52, 193, 0], 24), // AMT
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([192, 175, 48, 0], 24), // AS112
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

/// Networks inside of `2000::/3` without global routing, each with its length.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether this address is routed everywhere.
pub(crate) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let is_in = |&(network, length): &([u8; 4], u32)| {
        (address.to_bits() ^ u32::from_be_bytes(network)) >> (32 - length) == 0
    };
    !SPECIAL_V4.iter().any(is_in)
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let is_in =
        |&(network, length): &(Ipv6Addr, u32)| (address.to_bits() ^ network.to_bits()) >> (128 - length) == 0;
    is_in(&(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)) && !SPECIAL_V6.iter().any(is_in)
}

/// The host leads to an address that webhooks may not lead to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the host has an address that is not globally routable")]
pub(crate) struct NotGlobal;

/// A host's addresses, and none unless all of them are global: a name that leads inside is no place for news, wherever
/// else it leads.
pub(crate) fn checked(found: Vec<SocketAddr>) -> io::Result<Addrs> {
    if found.iter().all(|address| is_global(address.ip())) {
        Ok(Box::new(found.into_iter()))
    } else {
        Err(io::Error::other(NotGlobal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> bool {
        is_global(text.parse().unwrap())
    }

    #[test]
    fn an_address_inside_is_refused_up_to_its_last() {
        let inside = [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.0",
            "192.168.255.255",
            "192.88.99.1",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ];
        assert_eq!(inside.into_iter().find(|text| judged(text)), None);
        let inside = [
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        assert_eq!(inside.into_iter().find(|text| judged(text)), None);
    }

    #[test]
    fn an_address_outside_is_allowed_from_the_first_after_what_is_inside() {
        let outside = [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ];
        assert_eq!(outside.into_iter().find(|text| !judged(text)), None);
    }

    #[test]
    fn one_address_inside_closes_a_name() {
        let mixed = vec!["1.1.1.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
        assert!(checked(mixed).is_err());
        assert_eq!(checked(vec!["1.1.1.1:0".parse().unwrap()]).unwrap().count(), 1);
    }
}

//! Addresses of callers with special treatment.

use std::{fmt, net::IpAddr, str::FromStr};

/// An IP address, or all that share its first bits (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address is in it. An IPv4 address is the same when it is written as an IPv6 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same_start(u128::from(ours.to_bits()) << 96, u128::from(theirs.to_bits()) << 96, self.prefix)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                same_start(ours.to_bits(), theirs.to_bits(), self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    const fn width(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    /// Whether no bit is set beyond the prefix: `10.0.0.7/8` is more likely a slip than a network.
    fn is_exact(self) -> bool {
        let bits = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        bits.checked_shl(self.prefix.into()).unwrap_or(0) == 0
    }
}

fn same_start(ours: u128, theirs: u128, prefix: u8) -> bool {
    (ours ^ theirs).checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
}

/// The text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an IP address, or a network such as 10.0.0.0/8")]
pub struct InvalidNetwork;

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let width = Self::width(address);
        let prefix = prefix.map_or(Ok(width), |prefix| prefix.parse().map_err(|_| InvalidNetwork))?;
        let network = Self { address, prefix };
        if prefix <= width && network.is_exact() { Ok(network) } else { Err(InvalidNetwork) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == Self::width(self.address) {
            return self.address.fmt(f);
        }
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Any number of networks, separated by commas where they are written as one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<Network>);

impl Networks {
    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromStr for Networks {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(|network| network.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Networks>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_that_share_its_prefix() {
        assert!(contains("10.0.0.0/8", "10.255.255.255"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("10.1.2.3", "10.1.2.3") && !contains("10.1.2.3", "10.1.2.2"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!contains("2001:db8::/33", "2001:db8:8000::1"));
        assert!(contains("192.0.2.0/31, ::1", "::1"));
    }

    #[test]
    fn a_prefix_of_nothing_is_everything_of_its_kind() {
        assert!(contains("0.0.0.0/0", "255.255.255.255") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "ffff::") && !contains("::/0", "127.0.0.1"));
        assert!(!contains("", "127.0.0.1"));
    }

    #[test]
    fn an_ipv4_address_is_itself_however_the_socket_writes_it() {
        assert!(contains("127.0.0.0/8", "::ffff:127.0.0.1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in
            ["10.0.0.0/33", "::/129", "10.0.0.7/8", "10.0.0.0/", "localhost", "10.0.0.1,", "/8", "1::/-1"]
        {
            assert_eq!(wrong.parse::<Networks>(), Err(InvalidNetwork), "{wrong}");
        }
    }

    #[test]
    fn networks_are_written_as_they_are_read() {
        let text = "10.0.0.0/8,127.0.0.1,::1,fe80::/10";
        assert_eq!(text.parse::<Networks>().unwrap().to_string(), text);
    }
}

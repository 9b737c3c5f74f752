//! A firewall: from which addresses a vault, or an account of the AI service, may be asked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// From where a vault or an account may be asked. The default lets everybody through, as a vault that was made without rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRules {
    /// Whether it may be asked over the network at all. Without it only trusted services get through, for there is no private
    /// link here.
    pub public_access: bool,
    /// Whether those that no rule names get through.
    pub default_allow: bool,
    /// Whether the identities of this control plane's AI accounts get through wherever they are.
    pub trusted_services: bool,
    /// Addresses that get through.
    pub ranges: Vec<IpRange>,
    /// Virtual networks that would get through on Azure. They are kept and let nobody through here.
    pub virtual_networks: Vec<VirtualNetwork>,
}

impl Default for NetworkRules {
    fn default() -> Self {
        Self {
            public_access: true,
            default_allow: true,
            trusted_services: true,
            ranges: Vec::new(),
            virtual_networks: Vec::new(),
        }
    }
}

/// A virtual network's subnet, by its ARM resource id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualNetwork {
    /// The subnet.
    pub id: String,
    /// Whether it may lack the service end point.
    pub ignore_missing_endpoint: Option<bool>,
}

/// What keeps a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// No rule lets the address through.
    Firewall,
    /// The vault is not to be asked over the network.
    Connection,
}

impl NetworkRules {
    /// Whether a request from `address` gets through. An address that the listener does not know matches no rule.
    pub fn admit(
        &self,
        address: Option<IpAddr>,
        is_trusted_service: impl FnOnce() -> bool,
    ) -> Result<(), Barrier> {
        let barrier = match (self.public_access, self.default_allow) {
            (true, true) => return Ok(()),
            (true, false) if address.is_some_and(|address| self.names(address)) => return Ok(()),
            (true, false) => Barrier::Firewall,
            (false, _) => Barrier::Connection,
        };
        if self.trusted_services && is_trusted_service() {
            Ok(())
        } else {
            Err(barrier)
        }
    }

    fn names(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }
}

/// A range of addresses: `10.0.0.0/24`, `2001:db8::/32`, or one address. It is written with its prefix, as Azure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpRange {
    first: IpAddr,
    prefix: u8,
}

/// The text is no address and no range in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an IP rule is an address or a range in CIDR notation, such as 10.0.0.0/24")]
pub struct NoIpRange;

impl IpRange {
    /// Whether the address lies in the range. One that IPv6 maps from IPv4 counts as the IPv4 address that it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        first_of(address.to_canonical(), self.prefix) == Some(self.first)
    }
}

impl FromStr for IpRange {
    type Err = NoIpRange;

    fn from_str(text: &str) -> Result<Self, NoIpRange> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address.parse().map_err(|_| NoIpRange)?, Some(prefix)),
            None => {
                let address: IpAddr = text.parse().map_err(|_| NoIpRange)?;
                (address.to_canonical(), None)
            }
        };
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| NoIpRange)?
            }
            Some(_) => return Err(NoIpRange),
            None if address.is_ipv4() => 32,
            None => 128,
        };
        let first = first_of(address, prefix).ok_or(NoIpRange)?;
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl Serialize for IpRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The first address of the range of this length that holds `address`; none if an address has not so many bits.
fn first_of(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let rest = 32_u32.checked_sub(prefix.into())?;
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Some(Ipv4Addr::from_bits(v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let rest = 128_u32.checked_sub(prefix.into())?;
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Some(Ipv6Addr::from_bits(v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> IpRange {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_hold_what_their_prefix_says() {
        for (text, inside, outside) in [
            ("10.0.0.0/24", "10.0.0.255", "10.0.1.0"),
            ("10.0.0.7/24", "10.0.0.1", "10.0.1.7"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("::ffff:127.0.0.1", "127.0.0.1", "::1"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::", "8.8.8.8"),
        ] {
            assert!(range(text).contains(address(inside)), "{text} {inside}");
            assert!(!range(text).contains(address(outside)), "{text} {outside}");
        }
        assert!(range("10.0.0.0/8").contains(address("::ffff:10.1.2.3")));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0",
            "::/129",
            "localhost",
            "*",
            "10.0.0.1-10.0.0.9",
            "010.0.0.1",
            "10.0.0.0/256",
        ] {
            assert_eq!(text.parse::<IpRange>(), Err(NoIpRange), "{text}");
        }
        assert_eq!(range("10.1.2.3").to_string(), "10.1.2.3/32");
        assert_eq!(range("10.1.2.3/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn each_setting_of_the_firewall_has_its_effect() {
        let (inside, outside) = (Some("10.0.0.1"), Some("10.0.1.1"));
        let (open, shut) = (Ok(()), Err(Barrier::Firewall));
        let closed = Err(Barrier::Connection);
        for (public_access, default_allow, trusted_services, from, is_trusted, expected) in [
            (true, true, true, outside, false, open),
            (true, true, false, None, false, open),
            (true, false, true, inside, false, open),
            (true, false, true, outside, false, shut),
            (true, false, true, None, false, shut),
            (true, false, true, outside, true, open),
            (true, false, false, outside, true, shut),
            (false, true, true, inside, false, closed),
            (false, false, true, inside, false, closed),
            (false, true, true, outside, true, open),
            (false, true, false, outside, true, closed),
        ] {
            let rules = NetworkRules {
                public_access,
                default_allow,
                trusted_services,
                ranges: vec![range("10.0.0.0/24")],
                virtual_networks: Vec::new(),
            };
            let verdict = rules.admit(from.map(address), || is_trusted);
            assert_eq!(verdict, expected, "{rules:?} {from:?} {is_trusted}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bits: u128, prefix in 0_u8..=128) {
            let range = range(&format!("{}/{prefix}", Ipv6Addr::from_bits(bits)));
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }

        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,30}") {
            let _ = text.parse::<IpRange>();
        }
    }
}

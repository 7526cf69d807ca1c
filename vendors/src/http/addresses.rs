//! Which addresses are anybody's to reach on the internet, and which belong to a machine, a network or a purpose.
//!
//! The blocks are those of IANA's special-purpose registries that are not globally reachable, with multicast and what is
//! not given out yet: <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry> (2026-01). Of IPv6 only the global unicast space is
//! public, so that every form with an IPv4 address inside it (mapped, compatible, translated, NAT64) is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(first: u16, second: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), length)
}

const NOT_PUBLIC_V4: [Ipv4Net; 17] = [
    v4(0, 0, 0, 0, 8),          // "this network" (RFC 791)
    v4(10, 0, 0, 0, 8),         // private use (RFC 1918)
    v4(100, 64, 0, 0, 10),      // shared address space of carriers (RFC 6598)
    v4(127, 0, 0, 0, 8),        // loopback (RFC 1122)
    v4(168, 63, 129, 16, 32),   // Azure's own services, seen from each of its machines
    v4(169, 254, 0, 0, 16),     // link local (RFC 3927), where clouds have their metadata
    v4(172, 16, 0, 0, 12),      // private use (RFC 1918)
    v4(192, 0, 0, 0, 24),       // protocol assignments (RFC 6890)
    v4(192, 0, 2, 0, 24),       // documentation (RFC 5737)
    v4(192, 88, 99, 0, 24),     // 6to4 relays, deprecated (RFC 7526)
    v4(192, 168, 0, 0, 16),     // private use (RFC 1918)
    v4(198, 18, 0, 0, 15),      // benchmarks (RFC 2544)
    v4(198, 51, 100, 0, 24),    // documentation (RFC 5737)
    v4(203, 0, 113, 0, 24),     // documentation (RFC 5737)
    v4(224, 0, 0, 0, 4),        // multicast (RFC 5771)
    v4(240, 0, 0, 0, 4),        // reserved (RFC 1112)
    v4(255, 255, 255, 255, 32), // broadcast (RFC 919)
];

const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 3);

/// Within the global unicast space.
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 23), // protocol assignments (RFC 2928): Teredo, benchmarks, ORCHID and others
    v6(0x2001, 0xdb8, 32), // documentation (RFC 3849)
    v6(0x2002, 0, 16), // 6to4 (RFC 3056)
    v6(0x3fff, 0, 20), // documentation (RFC 9637)
];

/// Whether the address is a public one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|block| block.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_UNICAST.contains(&address) && !NOT_PUBLIC_V6.iter().any(|block| block.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn special_addresses_are_not_public() {
        let special = "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 \
            127.255.255.255 168.63.129.16 169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 \
            192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 \
            240.0.0.1 255.255.255.255 \
            :: ::1 ::7f00:1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 \
            64:ff9b::127.0.0.1 64:ff9b::808:808 64:ff9b:1::1 100::1 100:0:0:1::1 2001::1 2001:0:7f00:1:: 2001:2::1 \
            2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 3fff:fff::1 5f00::1 fc00::1 \
            fd00:ec2::254 fe80::1 fec0::1 ff02::1 4000::1 1fff::1";
        for text in special.split_whitespace() {
            assert!(!is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn the_neighbours_of_special_blocks_are_public() {
        let public = "1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
            168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 \
            192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 \
            198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 \
            2000::1 2001:200::1 2001:db7:ffff::1 2001:db9::1 2003::1 2606:4700::1111 2a00:1450::1 3ffe:ffff::1";
        for text in public.split_whitespace() {
            assert!(is_public(address(text)), "{text}");
        }
    }

    /// One address of every /20, against what the standard library knows; and no IPv6 form of any is public.
    #[test]
    fn what_the_standard_library_calls_special_is_never_public() {
        for number in (0..=u32::MAX).step_by(1 << 12) {
            let v4 = Ipv4Addr::from_bits(number | (number >> 13) & 0xfff);
            let is_special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || v4.is_unspecified();
            assert!(!(is_special && is_public(v4.into())), "{v4}");
            let bits = u128::from(v4.to_bits());
            let forms = [
                v4.to_ipv6_compatible(),
                v4.to_ipv6_mapped(),
                Ipv6Addr::from_bits(0x0064_ff9b_u128 << 96 | bits),
                Ipv6Addr::from_bits(0x2002_u128 << 112 | bits << 80),
                Ipv6Addr::from_bits(0x2001_0000_u128 << 96 | bits ^ 0xffff_ffff),
            ];
            for form in forms {
                assert!(!is_public(form.into()), "{form}");
            }
        }
    }
}

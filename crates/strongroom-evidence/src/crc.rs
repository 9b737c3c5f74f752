//! CRC-32 as zip has it: it guards nothing here, but its bytes must be right like all others.

/// The reflected polynomial of IEEE 802.3.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// The remainder of each byte.
const TABLE: [u32; 256] = table();

/// A running CRC-32.
#[derive(Clone, Copy)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = (self.0 ^ u32::from(*byte)) & 0xff;
            let remainder = TABLE.get(index as usize).copied().unwrap_or_default();
            self.0 = (self.0 >> 8) ^ remainder;
        }
    }

    pub(crate) const fn finish(self) -> u32 {
        !self.0
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler; the index is below 256"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ POLYNOMIAL
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::Crc32;

    #[test]
    fn the_published_check_value_is_met() {
        let mut crc = Crc32::new();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.finish(), 0xcbf4_3926);
    }
}

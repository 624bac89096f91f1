//! CRC-32C (Castagnoli): reflected polynomial 0x82F63B78, initial value and final xor all ones.

const TABLES: [[u32; 256]; 4] = tables();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0u32; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0x82F6_3B78 } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut table = 1;
    while table < 4 {
        let mut byte = 0;
        while byte < 256 {
            let previous = tables[table - 1][byte];
            tables[table][byte] = (previous >> 8) ^ tables[0][(previous & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[expect(clippy::indexing_slicing, reason = "a byte indexes a table of 256")]
const fn look_up(table: usize, byte: u32) -> u32 {
    TABLES[table][(byte & 0xFF) as usize]
}

/// CRC-32C of `bytes`; of `b"123456789"` it is `0xE306_9283`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    let mut rest = bytes;
    while let Some((word, tail)) = rest.split_first_chunk() {
        let mixed = crc ^ u32::from_le_bytes(*word);
        crc = look_up(3, mixed) ^ look_up(2, mixed >> 8) ^ look_up(1, mixed >> 16) ^ look_up(0, mixed >> 24);
        rest = tail;
    }
    for byte in rest {
        crc = (crc >> 8) ^ look_up(0, crc ^ u32::from(*byte));
    }
    !crc
}

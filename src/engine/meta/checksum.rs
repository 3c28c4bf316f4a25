// SPDX-License-Identifier: GPL-2.0

//! CRC-32C (Castagnoli), which guards the blocks of the activity log.

/// Reflected polynomial.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// `TABLES[k][b]`: the remainder of byte `b` followed by `k` zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

/// Continues a CRC-32C over `bytes` from `seed`, with neither start value nor final inversion of
/// its own.
///
/// The activity log starts with 0 and does not invert (metadata.md section 3.2). The usual CRC-32C
/// of other protocols is `!crc32c(!0, bytes)`; as a data-integrity digest its bytes are little
/// endian (wire-protocol.md 4.8).
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    let mut chunks = bytes.chunks_exact(8);
    let mut crc = seed;
    for chunk in &mut chunks {
        let &[a, b, c, d, e, f, g, h] = chunk else {
            continue;
        };
        let [w, x, y, z] = (crc ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
        // A byte as an index into 256 entries is always in range.
        crc = t7[usize::from(w)]
            ^ t6[usize::from(x)]
            ^ t5[usize::from(y)]
            ^ t4[usize::from(z)]
            ^ t3[usize::from(e)]
            ^ t2[usize::from(f)]
            ^ t1[usize::from(g)]
            ^ t0[usize::from(h)];
    }
    for &byte in chunks.remainder() {
        let [low, ..] = crc.to_le_bytes();
        crc = (crc >> 8) ^ t0[usize::from(low ^ byte)];
    }
    crc
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[behind - 1][byte];
            tables[behind][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

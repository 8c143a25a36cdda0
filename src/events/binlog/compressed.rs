//! What MariaDB compresses (`log_bin_compress`): a header of 2 to 5 bytes, then zlib.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::bytes::{Bytes, Malformed};

/// The bytes that were compressed.
///
/// # Errors
/// It is not what MariaDB writes.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut packed = Bytes(packed);
    let header = packed.byte()?;
    if header & 0xf0 != 0x80 {
        return Err(Malformed("an event of the binary log is compressed in an unknown way"));
    }
    let length = packed.big((header & 0x07).into())?;
    let mut bytes = Vec::new();
    let read = ZlibDecoder::new(packed.0).take(length).read_to_end(&mut bytes);
    match read {
        Ok(read) if read as u64 == length => Ok(bytes),
        _ => Err(Malformed("a compressed event of the binary log cannot be unpacked")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};

    use super::*;

    #[test]
    fn what_was_compressed_comes_back_and_anything_else_is_refused() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&[7; 300]).unwrap();
        let zlib = zlib.finish().unwrap();
        let packed = |header: &[u8]| [header, &zlib].concat();
        assert_eq!(unpack(&packed(&[0x82, 1, 44])), Ok(vec![7; 300]));
        for wrong in [packed(&[0x82, 1, 45]), packed(&[0x92, 1, 44]), vec![], vec![0x84, 1], packed(&[0x02, 1, 44])] {
            assert!(unpack(&wrong).is_err(), "{wrong:?}");
        }
    }
}

//! A text of any length, kept in compressed pieces. It is written and read in pieces, so that the whole is never in
//! memory.

use std::io::{self, Read as _, Write};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

use super::answers::Answer;

/// The size in bytes of each piece but the last.
const PIECE: usize = 1 << 20;

/// A text that is written once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pieces: Vec<Box<[u8]>>,
}

impl Document {
    /// Collects what `write` writes.
    ///
    /// # Errors
    /// Those of `write`: collecting does not fail.
    pub fn write<E: From<io::Error>>(write: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> Result<Self, E> {
        let mut writer = Writer { pieces: vec![], open: Vec::new() };
        write(&mut writer)?;
        if !writer.open.is_empty() {
            writer.close_piece()?;
        }
        Ok(Self { pieces: writer.pieces })
    }

    /// The number of pieces.
    #[must_use]
    pub const fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// A piece, or `None` after the last one. Decompression takes milliseconds.
    #[must_use]
    pub fn piece(&self, number: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(PIECE);
        let mut packed = DeflateDecoder::new(self.pieces.get(number)?.as_ref());
        packed.read_to_end(&mut bytes).expect("it was packed here");
        Some(bytes)
    }
}

impl Answer for Document {
    fn size(&self) -> usize {
        size_of::<Self>() + self.pieces.iter().map(|piece| size_of_val(piece) + piece.len()).sum::<usize>()
    }
}

struct Writer {
    pieces: Vec<Box<[u8]>>,
    open: Vec<u8>,
}

impl Writer {
    fn close_piece(&mut self) -> io::Result<()> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.open)?;
        self.pieces.push(encoder.finish()?.into());
        self.open.clear();
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.open.len());
        self.open.extend_from_slice(&bytes[..taken]);
        if self.open.len() == PIECE {
            self.close_piece()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_whole() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            let text: Vec<u8> = (0..length).map(|place| b'a' + (place * place % 23) as u8).collect();
            let document = Document::write(|out| {
                // The parts do not align with the pieces.
                text.chunks(7_919).try_for_each(|part| out.write_all(part))
            });
            let document = document.expect("memory takes it");
            let pieces: Vec<Vec<u8>> = (0..).map_while(|number| document.piece(number)).collect();
            assert_eq!((pieces.len(), document.piece_count()), (length.div_ceil(PIECE), length.div_ceil(PIECE)));
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE));
            assert!(pieces.concat() == text, "of {length} bytes");
        }
    }

    #[test]
    fn what_cannot_be_written_is_no_document() {
        let failed = Document::write(|_| Err(io::Error::other("a defect")));
        assert_eq!(failed.expect_err("it failed").to_string(), "a defect");
    }
}

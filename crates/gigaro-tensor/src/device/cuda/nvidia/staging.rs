//! Copies between the machine's memory and the card's, through a ring of pinned memory.
//!
//! The card can read ordinary memory only while the program waits. So bytes are copied into pinned memory first, and from there the card
//! fetches them while the program goes on; a part of the ring is used again when the card has passed the mark behind its copy.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::driver::{Address, Result};
use super::stream::{Mark, Stream};

/// Bytes of the ring.
const RING: usize = 32 << 20;
/// The most that is copied at once: several pieces are on their way while the next is written.
const PIECE: usize = 4 << 20;
/// The most copies that may be on their way; each holds a mark.
const PIECES: usize = 64;
/// Where pieces begin.
const ALIGN: usize = 256;

/// Which bytes of a ring are in use, and until which mark.
struct Ring<M> {
    bytes: usize,
    /// Where the next piece begins if it fits before the end.
    next: usize,
    /// Oldest first: the stream comes to their marks in this order.
    pieces: VecDeque<Piece<M>>,
}

struct Piece<M> {
    start: usize,
    end: usize,
    until: M,
}

impl<M> Ring<M> {
    fn new(bytes: usize) -> Self {
        Ring {
            bytes,
            next: 0,
            pieces: VecDeque::new(),
        }
    }

    /// Where the next bytes go; waits for the pieces that are in the way.
    fn place(&mut self, bytes: usize, mut wait: impl FnMut(M) -> Result<()>) -> Result<usize> {
        debug_assert!(bytes <= self.bytes);
        let start = if self.next + bytes <= self.bytes {
            self.next
        } else {
            0
        };
        let in_the_way = |piece: &Piece<M>| piece.start < start + bytes && start < piece.end;
        while self.pieces.len() >= PIECES || self.pieces.iter().any(in_the_way) {
            // What is in the way is among the oldest; those before it are over too.
            let Some(oldest) = self.pieces.pop_front() else {
                break;
            };
            wait(oldest.until)?;
        }
        self.next = (start + bytes).next_multiple_of(ALIGN);
        Ok(start)
    }

    /// The bytes that were placed at `start` are in use until the mark.
    fn hold(&mut self, start: usize, bytes: usize, until: M) {
        self.pieces.push_back(Piece {
            start,
            end: start + bytes,
            until,
        });
    }
}

/// The ring of a card.
pub(super) struct Staging {
    stream: Arc<Stream>,
    memory: *mut u8,
    ring: Ring<Mark>,
    /// Marks that may be set again.
    spare: Vec<Mark>,
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for Staging {}

impl Staging {
    pub(super) fn new(stream: Arc<Stream>) -> Result<Self> {
        let memory = stream.allocate_pinned(RING)?;
        Ok(Staging {
            stream,
            memory,
            ring: Ring::new(RING),
            spare: Vec::new(),
        })
    }

    /// Room for a piece that nothing in the stream uses any more.
    fn place(&mut self, bytes: usize) -> Result<usize> {
        let (stream, spare) = (&self.stream, &mut self.spare);
        self.ring.place(bytes, |mark| {
            let reached = stream.wait(&mark);
            spare.push(mark);
            reached
        })
    }

    pub(super) fn upload(&mut self, to: Address, from: &[u8]) -> Result<()> {
        for (i, piece) in from.chunks(PIECE).enumerate() {
            let start = self.place(piece.len())?;
            // SAFETY: the piece was placed inside the ring, and nothing uses its bytes there.
            let staged = unsafe { self.memory.add(start) };
            // SAFETY: as above; the two are different memory.
            unsafe { staged.copy_from_nonoverlapping(piece.as_ptr(), piece.len()) };
            let mark = match self.spare.pop() {
                Some(mark) => mark,
                None => self.stream.new_mark()?,
            };
            let to = to + (i * PIECE) as Address;
            // SAFETY: the ring holds these bytes until the mark behind the copy; the destination is the caller's block.
            unsafe { self.stream.copy_in(to, staged, piece.len()) }?;
            self.stream.set(&mark)?;
            self.ring.hold(start, piece.len(), mark);
        }
        Ok(())
    }

    pub(super) fn download(&mut self, to: &mut [u8], from: Address) -> Result<()> {
        for (i, piece) in to.chunks_mut(PIECE).enumerate() {
            let start = self.place(piece.len())?;
            // SAFETY: the piece was placed inside the ring.
            let staged = unsafe { self.memory.add(start) };
            let from = from + (i * PIECE) as Address;
            // SAFETY: nothing uses these bytes of the ring, and this value is borrowed until the copy has happened.
            unsafe { self.stream.copy_out(staged, from, piece.len()) }?;
            self.stream.synchronize()?;
            // SAFETY: the card has written them; the two are different memory.
            unsafe {
                piece
                    .as_mut_ptr()
                    .copy_from_nonoverlapping(staged, piece.len())
            };
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // SAFETY: it came from `allocate_pinned`, and this value is gone.
        unsafe { self.stream.free_pinned(self.memory) };
        let held = self.ring.pieces.drain(..).map(|piece| piece.until);
        for mark in held.chain(self.spare.drain(..)) {
            self.stream.remove(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cuda::driver::DriverError;
    use crate::device::cuda::nvidia::fake;

    #[test]
    fn what_was_uploaded_comes_back_although_its_source_was_changed_at_once() {
        let stream = fake::stream();
        let mut staging = Staging::new(Arc::clone(&stream)).unwrap();
        // Two and a half rings, in pieces of all sizes.
        let bytes = RING * 5 / 2;
        let want: Vec<u8> = (0..bytes).map(|i| (i * 31 + i / 977) as u8).collect();
        let block = stream.allocate(bytes).unwrap();
        let (mut at, mut size) = (0, 1);
        while at < bytes {
            let mut piece = want[at..(at + size).min(bytes)].to_vec();
            staging.upload(block + at as Address, &piece).unwrap();
            piece.fill(0);
            at += piece.len();
            size = size * 7 % (PIECE * 2) + 1;
        }
        let mut got = vec![0; bytes];
        staging.download(&mut got, block).unwrap();
        assert!(got == want);
        stream.free(block);
        drop(staging);
        assert_eq!(fake::with(|state| state.blocks()), 0);
    }

    #[test]
    fn a_copy_to_a_lost_card_is_an_error_that_says_what_to_do() {
        let stream = fake::stream();
        let mut staging = Staging::new(Arc::clone(&stream)).unwrap();
        let block = stream.allocate(8).unwrap();
        fake::with(|state| state.upload_status = 700);
        let DriverError::Failed { what, said } = staging.upload(block, &[1; 8]).unwrap_err() else {
            panic!("an error of another kind");
        };
        assert_eq!(what, "copying 8 bytes to the card");
        assert!(said.contains("last checkpoint"), "{said}");
        let refused = stream.allocate(fake::MOST + 1);
        let bytes = fake::MOST + 1;
        assert_eq!(refused, Err(DriverError::OutOfMemory { bytes }));
    }

    /// Places and holds a piece; its start, and the marks that were waited for.
    fn put(ring: &mut Ring<u32>, bytes: usize, mark: u32) -> (usize, Vec<u32>) {
        let mut waited = Vec::new();
        let start = ring.place(bytes, |mark| {
            waited.push(mark);
            Ok(())
        });
        let start = start.unwrap();
        ring.hold(start, bytes, mark);
        (start, waited)
    }

    #[test]
    fn a_piece_waits_for_those_in_its_way_and_for_no_others() {
        let mut ring = Ring::new(1024);
        assert_eq!(put(&mut ring, 300, 1), (0, vec![]));
        assert_eq!(put(&mut ring, 256, 2), (512, vec![]));
        assert_eq!(put(&mut ring, 10, 3), (768, vec![]));
        // Does not fit before the end: back to the start, where the first piece is.
        assert_eq!(put(&mut ring, 100, 4), (0, vec![1]));
        assert_eq!(put(&mut ring, 200, 5), (256, vec![]));
        assert_eq!(put(&mut ring, 257, 6), (512, vec![2, 3]));
        assert_eq!(put(&mut ring, 1024, 7), (0, vec![4, 5, 6]));
    }

    #[test]
    fn pieces_in_use_never_overlap_whatever_their_sizes() {
        let mut ring = Ring::new(4096);
        let mut size = 1;
        for mark in 0..5000 {
            size = (size * 13 + 7) % 4096;
            let (start, _) = put(&mut ring, size.max(1), mark);
            assert!(start + size <= 4096);
            let newest = ring.pieces.back().unwrap();
            let others = ring.pieces.iter().take(ring.pieces.len() - 1);
            assert!(
                others
                    .into_iter()
                    .all(|p| p.end <= newest.start || newest.end <= p.start)
            );
            assert!(ring.pieces.len() <= PIECES);
        }
    }

    #[test]
    fn a_card_that_is_lost_while_it_is_waited_for_is_an_error() {
        let mut ring = Ring::new(256);
        put(&mut ring, 256, 1);
        let lost = DriverError::OutOfMemory { bytes: 1 };
        let placed = ring.place(1, |_| Err(lost.clone()));
        assert_eq!(placed, Err(lost));
    }
}

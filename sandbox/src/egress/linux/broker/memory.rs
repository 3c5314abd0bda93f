//! What the arguments of a call point to, in the memory of the program that makes it.

use nix::errno::Errno;

use super::super::address::{self, Destination};
use super::super::sys;
use super::Shared;

/// Bytes of one message; what is longer is sent in parts by a stream, and by nothing else.
const MOST_DATA: usize = 64 << 10;

impl Shared {
    pub(super) fn address(&self, at: u64, length: u64) -> Result<Destination, Errno> {
        if length > address::LONGEST {
            return Err(Errno::EINVAL);
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Errno::EINVAL)?];
        sys::read_memory(self.pid, at, &mut bytes)?;
        address::read(&bytes)
    }

    pub(super) fn read<const LENGTH: usize>(&self, at: u64) -> Result<[u8; LENGTH], Errno> {
        let mut bytes = [0; LENGTH];
        sys::read_memory(self.pid, at, &mut bytes)?;
        Ok(bytes)
    }

    /// The data in these places, as much as one message may have, and how much there is.
    pub(super) fn data(&self, parts: &[(u64, u64)]) -> Result<(Vec<u8>, u64), Errno> {
        let mut data = Vec::new();
        let mut total = 0_u64;
        for (at, length) in parts {
            total = total.saturating_add(*length);
            let begin = data.len();
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            let end = begin.saturating_add(length).min(MOST_DATA);
            if end > begin {
                data.resize(end, 0);
                sys::read_memory(self.pid, *at, &mut data[begin..])?;
            }
        }
        Ok((data, total))
    }
}

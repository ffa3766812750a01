//! The three codings under one type. Every encoder is used for one body at a time, from [`Encoder::begin`] on.
//!
//! Windows are kept small (32 KiB for gzip, 256 KiB for brotli, 128 KiB for zstd): pages are not large, and each answer
//! under way holds a window.

use std::fmt;
use std::io;

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderDestroyInstance, BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct,
};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{CParameter, InBuffer, Operation, OutBuffer};

use super::budget::{Budget, Reservation};
use crate::core::compress::{Algorithm, Coding};

/// Room made in the output each time an encoder has something to say.
const ROOM_BYTES: usize = 8 * 1024;
/// Log2 of the windows.
const GZIP_WINDOW: u8 = 15;
const BROTLI_WINDOW: u32 = 18;
const ZSTD_WINDOW: u32 = 17;
/// Log2 of the tables of zstd's levels from this one on, which would grow with the level to many megabytes.
const ZSTD_TABLES: u32 = 17;
const ZSTD_TABLES_FROM_LEVEL: u8 = 4;

/// An encoder and the memory it was granted.
pub struct Encoder {
    algorithm: Algorithm,
    kind: Kind,
    _memory: Reservation,
}

enum Kind {
    Gzip(Box<Compress>),
    Brotli(Box<Brotli>),
    Zstd(Box<zstd::stream::raw::Encoder<'static>>),
}

struct Brotli(BrotliEncoderStateStruct<StandardAlloc>);

/// An encoder that cannot go on; the body cannot be finished.
#[derive(Debug, thiserror::Error)]
#[error("an encoder of {coding} failed")]
pub struct EncoderFailed {
    coding: &'static str,
    #[source]
    source: Option<io::Error>,
}

/// What is asked of an encoder besides taking input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing: it may keep what it likes.
    GoOn,
    /// Everything so far must be decodable from what has come out.
    Flush,
    /// That was all.
    Finish,
}

impl Encoder {
    /// One more encoder, if there is memory for it.
    pub fn new(algorithm: Algorithm, budget: &std::sync::Arc<Budget>) -> Option<Encoder> {
        let memory = budget.reserve(memory_bytes(algorithm))?;
        let kind = match algorithm.coding {
            Coding::Gzip => Kind::Gzip(Box::new(Compress::new_gzip(gzip_level(algorithm), GZIP_WINDOW))),
            Coding::Brotli => Kind::Brotli(Box::new(Brotli::new(algorithm.level))),
            Coding::Zstd => Kind::Zstd(Box::new(zstd_encoder(algorithm.level).ok()?)),
        };
        Some(Encoder { algorithm, kind, _memory: memory })
    }

    /// What it makes.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Begins a new body; the one before was finished.
    pub fn begin(&mut self) -> Result<(), EncoderFailed> {
        match &mut self.kind {
            Kind::Gzip(state) => state.reset(),
            Kind::Brotli(state) => **state = Brotli::new(self.algorithm.level),
            Kind::Zstd(state) => state.reinit().map_err(|e| failed(Coding::Zstd, Some(e)))?,
        }
        Ok(())
    }

    /// Whether keeping it for another body saves anything: brotli's state is made anew for each.
    pub fn is_worth_keeping(&self) -> bool {
        !matches!(self.kind, Kind::Brotli(_))
    }

    /// Takes bytes of body; what comes of them is added to `out`, now or later.
    pub fn write(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), EncoderFailed> {
        self.run(input, Then::GoOn, out)
    }

    /// Adds to `out` what is needed to decode everything taken so far.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncoderFailed> {
        self.run(&[], Then::Flush, out)
    }

    /// Adds the end to `out`.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncoderFailed> {
        self.run(&[], Then::Finish, out)
    }

    fn run(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), EncoderFailed> {
        match &mut self.kind {
            Kind::Gzip(state) => gzip(state, input, then, out),
            Kind::Brotli(state) => state.run(input, then, out),
            Kind::Zstd(state) => zstd(state, input, then, out).map_err(|e| failed(Coding::Zstd, Some(e))),
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// An upper bound of what an encoder takes, measured with bodies larger than its window (352 KiB, 2.4 and 5.7 MiB,
/// 1.2 and 1.4 MiB).
pub fn memory_bytes(algorithm: Algorithm) -> u64 {
    const KIB: u64 = 1024;
    match (algorithm.coding, algorithm.level) {
        (Coding::Gzip, _) => 384 * KIB,
        (Coding::Brotli, 0..=4) => 2816 * KIB,
        (Coding::Brotli, _) => 6656 * KIB,
        (Coding::Zstd, 0..=3) => 1536 * KIB,
        (Coding::Zstd, _) => 2048 * KIB,
    }
}

fn failed(coding: Coding, source: Option<io::Error>) -> EncoderFailed {
    EncoderFailed { coding: coding.name(), source }
}

fn gzip_level(algorithm: Algorithm) -> Compression {
    Compression::new(u32::from(algorithm.level))
}

fn gzip(state: &mut Compress, mut input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), EncoderFailed> {
    let flush = match then {
        Then::GoOn => FlushCompress::None,
        Then::Flush => FlushCompress::Sync,
        Then::Finish => FlushCompress::Finish,
    };
    loop {
        out.reserve(ROOM_BYTES);
        let (taken_before, room) = (state.total_in(), out.capacity() - out.len());
        let made_before = out.len();
        let status = state.compress_vec(input, out, flush);
        let taken = usize::try_from(state.total_in() - taken_before).unwrap_or(usize::MAX);
        input = input.get(taken..).unwrap_or_default();
        let made = out.len() - made_before;
        match status {
            Ok(Status::StreamEnd) => return Ok(()),
            // No room left over means that there is more to say.
            Ok(Status::Ok) if made == room || !input.is_empty() || then == Then::Finish => {}
            Ok(Status::Ok) => return Ok(()),
            // Nothing was possible: for a flush, that nothing was left.
            Ok(Status::BufError) if input.is_empty() && then != Then::Finish => return Ok(()),
            Ok(Status::BufError) if made > 0 || taken > 0 => {}
            Ok(Status::BufError) => return Err(failed(Coding::Gzip, None)),
            Err(error) => return Err(failed(Coding::Gzip, Some(error.into()))),
        }
    }
}

fn zstd_encoder(level: u8) -> io::Result<zstd::stream::raw::Encoder<'static>> {
    let mut encoder = zstd::stream::raw::Encoder::new(i32::from(level))?;
    encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
    if level >= ZSTD_TABLES_FROM_LEVEL {
        encoder.set_parameter(CParameter::HashLog(ZSTD_TABLES))?;
        encoder.set_parameter(CParameter::ChainLog(ZSTD_TABLES))?;
    }
    Ok(encoder)
}

fn zstd(
    state: &mut zstd::stream::raw::Encoder<'static>,
    input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut input = InBuffer::around(input);
    loop {
        out.reserve(ROOM_BYTES);
        let made = out.len();
        let mut room = OutBuffer::around_pos(out, made);
        let left = match then {
            Then::GoOn => state.run(&mut input, &mut room).map(|_| input.src.len() - input.pos())?,
            Then::Flush => state.flush(&mut room)?,
            Then::Finish => state.finish(&mut room, true)?,
        };
        if left == 0 {
            return Ok(());
        }
    }
}

impl Brotli {
    fn new(level: u8) -> Brotli {
        let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, u32::from(level));
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, BROTLI_WINDOW);
        Brotli(state)
    }

    fn run(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), EncoderFailed> {
        let operation = match then {
            Then::GoOn => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
            Then::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
            Then::Finish => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
        };
        let (mut left, mut at) = (input.len(), 0);
        loop {
            // No room is offered: what it makes is taken from where it made it.
            let (mut no_room, mut nowhere) = (0, 0);
            let went_well = self.0.compress_stream(
                operation,
                &mut left,
                input,
                &mut at,
                &mut no_room,
                &mut [],
                &mut nowhere,
                &mut None,
                &mut |_, _, _, _| (),
            );
            if !went_well {
                return Err(failed(Coding::Brotli, None));
            }
            // 0 asks for all there is; the slice goes on beyond it.
            let mut made = 0;
            let output = self.0.take_output(&mut made);
            out.extend_from_slice(output.get(..made).unwrap_or(output));
            let done = match then {
                Then::Finish => self.0.is_finished(),
                _ => left == 0 && !self.0.has_more_output(),
            };
            if done {
                return Ok(());
            }
        }
    }
}

impl Drop for Brotli {
    fn drop(&mut self) {
        BrotliEncoderDestroyInstance(&mut self.0);
    }
}

#[cfg(test)]
mod tests;

//! A segment that is damaged is made again of the frames that the broker has.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use serde_json::json;

use super::{BrokerConnection, BrokerError, JetStreamLog, StreamNames, standby::last_of};
use crate::{
    codec,
    segment::{SegmentHeader, SegmentWriter},
    sled::frame::{self, DecodedFrame},
};
use tenure_core::Position;

/// Frames fetched at once.
const AT_ONCE: u64 = 32;

/// Reads the frames of the log at the broker, beside the node's own way of following them.
#[derive(Clone, Debug)]
pub struct FrameReader {
    connection: Arc<BrokerConnection>,
    names: StreamNames,
}

impl JetStreamLog {
    /// Makes a damaged segment again, by its number from 0 on, in this file, and puts it in its place if it is the same
    /// one.
    ///
    /// # Errors
    /// Why it was not put there.
    pub fn rebuild(
        &self,
        number: usize,
        frames: &FrameReader,
        file: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let segments = self.segment_store.all();
        let ours = segments.get(number).ok_or("there are fewer segments")?;
        frames.write(&ours.header, file, go_on)?;
        self.segment_store.mend(number, file)
    }
}

impl FrameReader {
    /// By this connection.
    pub const fn on(connection: Arc<BrokerConnection>, names: StreamNames) -> Self {
        Self { connection, names }
    }

    /// Writes the segment that this header is of, as far as the broker has its commits: it is judged when it is read.
    fn write(&self, header: &SegmentHeader, file: &Path, go_on: &dyn Fn() -> bool) -> Result<(), String> {
        let said = |error: io::Error| format!("{}: {error}", file.display());
        File::options().write(true).create(true).truncate(true).mode(0o600).open(file).map_err(said)?;
        let mut writer = SegmentWriter::begin(file, header.base.clone()).map_err(said)?;
        let (mut next, last) = (header.first(), header.last());
        let mut sequence = self.place_of(next)?;
        while next <= last {
            let places = sequence..sequence + AT_ONCE;
            let messages = self.connection.messages(&self.names.log_stream(), places.clone());
            for (place, message) in places.zip(messages.map_err(|error| error.to_string())?) {
                if !go_on() {
                    return Err("this node stops".to_owned());
                }
                let message = message.ok_or_else(|| self.lacks(place))?;
                for (first, end, bytes) in self.open(place, &message.data)?.ranges() {
                    if first == next && next <= last {
                        let outline = codec::time_and_count(bytes).map_err(|error| error.to_string())?;
                        writer.add(first, outline.0, bytes).map_err(said)?;
                        next = end;
                    }
                }
                if next > last {
                    break;
                }
            }
            sequence += AT_ONCE;
        }
        writer.end(header.log_id, header.end.clone()).map(drop).map_err(said)
    }

    /// The frame in which this position is.
    fn place_of(&self, position: Position) -> Result<u64, String> {
        let stream = self.names.log_stream();
        let said = |error: BrokerError| error.to_string();
        let (mut low, mut high) = (1, last_of(&self.connection, &stream).map_err(said)? + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.connection.message(&stream, &json!({ "seq": middle })).map_err(said)?;
            let found = found.ok_or_else(|| self.lacks(middle))?;
            if self.open(middle, &found.data)?.next > position { high = middle } else { low = middle + 1 }
        }
        Ok(low)
    }

    fn lacks(&self, sequence: u64) -> String {
        format!("{} does not have the frame {sequence}", self.names.log_stream())
    }

    fn open<'b>(&self, sequence: u64, bytes: &'b [u8]) -> Result<DecodedFrame<'b>, String> {
        let first = frame::first_of(bytes).ok_or_else(|| "the frame is cut short".to_owned());
        first.and_then(|first| frame::open(first, bytes)).map_err(|why| {
            format!("the frame {sequence} of {} cannot be read: {why}", self.names.log_stream())
        })
    }
}

//! A segment that is damaged is made good by another file.

use std::{fs, path::Path};

use super::SegmentStore;
use crate::{
    segment::{Segment, in_words},
    sled::data_dir::sync_dir,
};

impl SegmentStore {
    /// Puts a file in the place of a segment, by its number from 0 on, if it is what that segment was when it was
    /// opened. Its header stays in memory and says what all of the file must be, so nothing else is believed.
    ///
    /// # Errors
    /// Why it was not put there.
    pub(crate) fn mend(&self, number: usize, file: &Path) -> Result<(), String> {
        let segments = self.all();
        let ours = segments.get(number).ok_or("there are fewer segments")?;
        let theirs = Segment::open(file.to_owned()).map_err(|error| error.to_string())?;
        if theirs.header != ours.header {
            return Err("it is another segment".to_owned());
        }
        theirs.read_whole(&mut |_| true).map_err(|trouble| in_words(trouble, &theirs))?;
        fs::rename(file, &ours.path).map_err(|error| error.to_string())?;
        sync_dir(&self.data.segments).map_err(|error| error.to_string())
    }
}

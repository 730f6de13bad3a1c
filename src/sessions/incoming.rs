//! Sessions of another gateway, written beside those that are here, while no gateway runs.
//!
//! A transcript is written to a file of another name, synced, and put in its place; then the row is. Until the row is there
//! nothing leads to the transcript: whoever is stopped in between begins that session anew. Nothing here touches the source.

use super::{
    Index, NewEntry, SessionId, SessionKey,
    disk::log_path,
    rows::{Row, log::RowLog},
    transcript::{
        self, Transcript,
        entry::{Place, header},
    },
};
use crate::store::atomic;
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// What is here of a session that is to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Here {
    /// Nothing.
    Nothing,
    /// The same conversation, brought before; and there is more of it now.
    Older,
    /// The same conversation, brought before.
    Same,
    /// The same conversation, which went on here.
    WentOn,
    /// Another conversation.
    Another,
}

/// The sessions that are here, and what is written to them.
pub struct Incoming {
    agents: PathBuf,
    log: RowLog,
    rows: Index,
}

impl Incoming {
    /// The sessions in the directory of all agents. Nothing is written yet.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn open(agents: PathBuf) -> io::Result<Self> {
        let (log, loaded) = RowLog::load(&log_path(&agents))?;
        loaded.notices.iter().for_each(|notice| log::warn!("{notice}"));
        Ok(Self { agents, log, rows: loaded.rows })
    }

    /// What is here under `key` of the conversation `id`, which changed last at `updated`.
    ///
    /// # Errors
    /// Its transcript cannot be read.
    pub fn here(&self, key: &SessionKey, id: &SessionId, updated: u64) -> io::Result<Here> {
        let Some(row) = self.rows.get(key) else { return Ok(Here::Nothing) };
        if row.id != *id {
            return Ok(Here::Another);
        }
        let path = transcript::path(&self.agents, key.agent(), id);
        let mut went_on = false;
        if let Some(transcript) = Transcript::open(&path)? {
            transcript.entries(transcript.last(), |last| {
                went_on = !last.is_imported();
                ControlFlow::Break(())
            })?;
        }
        Ok(match () {
            () if went_on => Here::WentOn,
            () if row.times.updated < updated => Here::Older,
            () => Here::Same,
        })
    }

    /// Writes the transcript of a session, which `fill` fills, and then its row.
    ///
    /// # Errors
    /// The system's, or `fill`'s. What was here is then as it was.
    pub fn write<T>(
        &mut self,
        key: &SessionKey,
        row: &Row,
        fill: impl FnOnce(&mut Draft) -> io::Result<T>,
    ) -> io::Result<T> {
        let path = transcript::path(&self.agents, key.agent(), &row.id);
        path.parent().map_or(Ok(()), atomic::make_directory)?;
        let beside = path.with_extension("jsonl.incoming");
        let filled = Draft::begin(&beside, row).and_then(|mut draft| {
            let value = fill(&mut draft)?;
            draft.end()?;
            Ok(value)
        });
        let done = filled.and_then(|value| fs::rename(&beside, &path).map(|()| value));
        let value = done.inspect_err(|_| _ = fs::remove_file(&beside))?;
        atomic::sync_directory(&path)?;
        self.rows.put(key, Some(row));
        self.log.append(&Row::line(key, Some(row)), self.rows.len() as u64)?;
        self.log.sync()?;
        Ok(value)
    }
}

/// A transcript that is being written.
pub struct Draft {
    out: BufWriter<File>,
    place: Place,
    parent: Option<String>,
}

impl Draft {
    fn begin(path: &Path, row: &Row) -> io::Result<Self> {
        // What a run before this one left half done.
        atomic::write(path, header(&row.id, row.times.created).as_bytes(), 0o600)?;
        let file = File::options().append(true).open(path)?;
        Ok(Self { out: BufWriter::new(file), place: Place::default(), parent: None })
    }

    /// Appends an entry; its id.
    ///
    /// # Errors
    /// The system's.
    pub fn append(&mut self, entry: &NewEntry) -> io::Result<String> {
        let made = entry.line(&self.place, self.parent.as_deref());
        let (line, id, place) = made.map_err(|e| io::Error::other(e.to_string()))?;
        self.out.write_all(line.as_bytes())?;
        (self.place, self.parent) = (place, Some(id.clone()));
        Ok(id)
    }

    fn end(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }
}

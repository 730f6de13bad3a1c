//! The files of all sessions, as a worker thread writes them: changes in groups, each group synced once.

use super::{
    NewEntry, SessionId,
    key::SessionKey,
    rows::log::{Loaded, RowLog},
    transcript::{self, Appended, Transcript, beside},
};
use std::{
    collections::HashSet,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Transcripts that stay open for the next append.
const OPEN: usize = 8;

/// A change of some sessions.
pub(super) struct Job {
    /// The sessions that it changes.
    pub keys: Vec<SessionKey>,
    /// Lines of the row log.
    pub lines: String,
    /// Whether the lines are to be on disk before it is done.
    pub durable: bool,
    /// Entries for the end of a transcript.
    pub append: Option<Append>,
    /// Transcripts to be removed afterwards: their agents and ids.
    pub remove: Vec<(String, SessionId)>,
    /// Number of sessions there are then.
    pub count: u64,
    pub now_ms: u64,
}

/// Entries for the end of a transcript.
pub(super) struct Append {
    pub id: SessionId,
    pub entries: Vec<NewEntry>,
    /// Whether they may be on disk later than the job is done.
    pub lazy: bool,
}

/// A transcript that a group of jobs appends to.
struct Touched {
    path: PathBuf,
    /// Where it ended before.
    end: u64,
    /// Whether it is to be on disk.
    synced: bool,
}

/// What became of a job.
pub(super) type Done = Result<Vec<Appended>, String>;

/// The files.
pub(super) struct Disk {
    /// Directory of all agents.
    agents: PathBuf,
    log: Option<RowLog>,
    open: Vec<(PathBuf, Transcript)>,
}

impl Disk {
    pub fn new(agents: PathBuf) -> Self {
        Self { agents, log: None, open: Vec::new() }
    }

    /// Reads the rows.
    pub fn load(&mut self) -> Result<Loaded, String> {
        let path = log_path(&self.agents);
        let (log, loaded) =
            RowLog::load(&path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
        self.log = Some(log);
        Ok(loaded)
    }

    /// Carries jobs out, in their order. What fails leaves nothing behind, as far as the disk allows, and takes with it
    /// those after it that change the same sessions.
    pub fn write(&mut self, jobs: Vec<Job>) -> Vec<Done> {
        let mut failed: HashSet<SessionKey> = HashSet::new();
        let mut touched: Vec<Touched> = Vec::new();
        let mut done: Vec<Done> = Vec::with_capacity(jobs.len());
        for job in &jobs {
            let result = match job.keys.iter().find(|key| failed.contains(key)) {
                Some(key) => Err(format!("a change of {} before it was not saved", key.wire())),
                None => self.append(job, &mut touched),
            };
            if result.is_err() {
                failed.extend(job.keys.iter().cloned());
            }
            done.push(result);
        }
        for transcript in touched.iter().filter(|transcript| transcript.synced) {
            if let Err(why) = self.sync(&transcript.path) {
                return self.undo(&touched, why, jobs.len());
            }
        }
        if let Err(why) = self.log(&jobs, &done) {
            return self.undo(&touched, why, jobs.len());
        }
        for (agent, id) in
            jobs.iter().zip(&done).filter(|(_, done)| done.is_ok()).flat_map(|(job, _)| &job.remove)
        {
            let path = transcript::path(&self.agents, agent, id);
            self.open.retain(|(open, _)| *open != path);
            beside::remove(&self.agents, agent, id);
            if let Err(e) = std::fs::remove_file(&path)
                && e.kind() != io::ErrorKind::NotFound
            {
                log::warn!("{} is no session's any more, and cannot be removed: {e}", path.display());
            }
        }
        done
    }

    /// Appends a job's entries; `touched` keeps what it appends to.
    fn append(&mut self, job: &Job, touched: &mut Vec<Touched>) -> Done {
        let (Some(append), Some(key)) = (&job.append, job.keys.first()) else { return Ok(Vec::new()) };
        let Append { id, entries, lazy } = append;
        let path = transcript::path(&self.agents, key.agent(), id);
        let told = |e: io::Error| format!("{}: {e}", path.display());
        let transcript = self.transcript(&path, id, job.now_ms).map_err(told)?;
        match touched.iter_mut().find(|known| known.path == path) {
            Some(known) => known.synced |= !lazy,
            None => {
                touched.push(Touched { path: path.clone(), end: transcript.tail.end, synced: !lazy });
            }
        }
        if transcript.tail.torn > 0 {
            log::warn!(
                "{}: its last {} bytes are no whole entry: one that was never acknowledged; cut off",
                path.display(),
                transcript.tail.torn
            );
        }
        let appended = transcript.append(entries).map_err(told);
        if appended.is_err() {
            self.open.retain(|(open, _)| *open != path);
        }
        appended
    }

    /// The open transcript at `path`, begun if there is none.
    fn transcript(&mut self, path: &Path, id: &SessionId, now: u64) -> io::Result<&mut Transcript> {
        let known = self.open.iter().position(|(open, _)| open == path).map(|at| self.open.remove(at));
        // One that was removed while it was open would take what nobody finds again.
        let known = known.filter(|(_, t)| t.file.metadata().is_ok_and(|meta| meta.nlink() > 0));
        let transcript = match known {
            Some(known) => known,
            None => (path.to_owned(), Transcript::open_or_begin(path, id, now)?),
        };
        if self.open.len() >= OPEN {
            self.open.remove(0);
        }
        self.open.push(transcript);
        let last = self.open.len() - 1;
        Ok(&mut self.open[last].1)
    }

    fn sync(&mut self, path: &Path) -> Result<(), String> {
        let told = |e: io::Error| format!("{}: {e}", path.display());
        match self.open.iter().find(|(open, _)| open == path) {
            Some((_, transcript)) => transcript.file.sync_data().map_err(told),
            // It was closed again for the others of this group, or failed.
            None => match Transcript::open(path) {
                Ok(Some(transcript)) => transcript.file.sync_data().map_err(told),
                Ok(None) => Ok(()),
                Err(e) => Err(told(e)),
            },
        }
    }

    /// Appends the rows of the jobs that went well so far.
    fn log(&mut self, jobs: &[Job], done: &[Done]) -> Result<(), String> {
        let well = || jobs.iter().zip(done).filter(|(_, done)| done.is_ok()).map(|(job, _)| job);
        let lines: String = well().map(|job| job.lines.as_str()).collect();
        let Some(count) = well().next_back().map(|job| job.count).filter(|_| !lines.is_empty()) else {
            return Ok(());
        };
        let path = log_path(&self.agents);
        let told = |e: io::Error| format!("{}: {e}", path.display());
        let log = self.log.as_mut().ok_or_else(|| format!("{} was not read", path.display()))?;
        let end = log.end();
        log.append(&lines, count).map_err(told)?;
        if well().any(|job| job.durable)
            && let Err(e) = log.sync()
        {
            log.cut(end);
            return Err(told(e));
        }
        Ok(())
    }

    /// Takes a whole group back.
    fn undo(&mut self, touched: &[Touched], why: String, jobs: usize) -> Vec<Done> {
        for transcript in touched {
            transcript::cut(&transcript.path, transcript.end);
        }
        self.open.clear();
        vec![Err(why); jobs]
    }
}

/// The log of all rows.
pub(super) fn log_path(agents: &Path) -> PathBuf {
    agents.join("sessions.log")
}

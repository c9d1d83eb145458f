//! A runtime's folder, and the note in it by which what was left behind is found and ended.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::super::alive::{self, Alive};
use super::super::contract::Order;
use super::super::kin;

/// A keeper ends within an instant when it is told to; then it is made to.
const ENDING_LOOK_EVERY: Duration = Duration::from_millis(5);
const ENDING_LOOKS_MAX: u32 = 400;

const NOTE: &str = "running.json";
const LOCK: &str = "lock";
const OWNER: &str = "owner";
/// Who runs as another user has to get to the working folder, and sees nothing on the way.
const PASSABLE: u32 = 0o711;
/// A tenant's folder, for those of its user's group.
const PASSABLE_FOR_ITS_USER: u32 = 0o710;
const OWN: u32 = 0o600;

/// A runtime's folder.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// What runs, or ran, in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Its keeper, with which all of it ends.
    pub(super) pid: i32,
    /// When that began, as the system counts it: another process of that number has another.
    began: u64,
    /// Which boot and which numbers these are about.
    world: String,
    /// The flowgate that started it.
    owner: Alive,
    /// Of the lease under which it was started.
    fence: u64,
    /// Where it listened.
    pub(super) port: u16,
}

impl Note {
    /// About a child of ours.
    pub(super) fn of(pid: u32, port: u16, fence: u64) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the process is gone");
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let began = kin::born(pid).ok_or_else(gone)?;
        Ok(Self { pid, began, world: alive::world()?, owner: Alive::ours()?, fence, port })
    }

    /// Whether it is about process numbers that we see.
    fn is_in_sight(&self) -> bool {
        alive::world().ok().as_ref() == Some(&self.world)
    }

    fn runs(&self) -> bool {
        self.is_in_sight() && kin::began(self.pid) == Some(self.began)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.runs()) {
            // It may just have ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends what is left of it; returns whether anything was.
    fn end(&self) -> bool {
        if !self.runs() {
            return false;
        }
        self.signal(Signal::QUIT);
        for _ in 0..ENDING_LOOKS_MAX {
            if !self.runs() {
                return true;
            }
            std::thread::sleep(ENDING_LOOK_EVERY);
        }
        self.signal(Signal::KILL);
        true
    }
}

/// For a file that is flowgate's alone.
fn own_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(OWN);
    options
}

/// Makes a folder if it is not there.
pub(super) fn make(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// A file that nobody else opens: whoever may read it may lock it.
fn private(path: &Path) -> io::Result<File> {
    let file = own_file().create(true).truncate(false).open(path)?;
    file.set_permissions(Permissions::from_mode(OWN))?;
    Ok(file)
}

impl Folder {
    /// A tenant's. The id is in its name: whoever gets a username that was somebody's before does not
    /// get their flows.
    pub(super) fn of(all: &Path, order: &Order) -> Self {
        Self(all.join(format!("{}-{}", order.username, order.tenant)))
    }

    /// The same, made if it is not there.
    pub(super) fn make(all: &Path, order: &Order) -> io::Result<Self> {
        // A runtime's own folder is not where flowgate was started.
        make(all, PASSABLE)?;
        let folder = Self::of(&all.canonicalize()?, order);
        make(&folder.0, PASSABLE)?;
        make(&folder.home(), 0o700)?;
        Ok(folder)
    }

    /// Nobody gets into it but flowgate and this user.
    pub(super) fn give_to(&self, user: u32) -> io::Result<()> {
        chown(&self.0, None, Some(user))?;
        std::fs::set_permissions(&self.0, Permissions::from_mode(PASSABLE_FOR_ITS_USER))
    }

    /// The runtime's working folder.
    pub(super) fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.0.join("runtime.log")
    }

    /// Writes down what runs here.
    pub(super) fn note(&self, note: &Note) -> io::Result<()> {
        let new = self.0.join("running.new");
        // What is left of an attempt that failed.
        let _ = std::fs::remove_file(&new);
        own_file().create_new(true).open(&new)?.write_all(&serde_json::to_vec(note)?)?;
        std::fs::rename(new, self.0.join(NOTE))
    }

    /// Nothing runs here any more.
    fn forget(&self) {
        // What stays is about a process that is gone, and does no harm.
        let _ = std::fs::remove_file(self.0.join(NOTE));
    }

    fn noted(&self) -> Option<Note> {
        serde_json::from_slice(&std::fs::read(self.0.join(NOTE)).ok()?).ok()
    }

    /// What runs here, as far as it was noted down.
    pub(super) fn running(&self) -> Option<Note> {
        self.noted().filter(Note::runs)
    }

    /// Keeps other flowgates from starting anything here until it is dropped.
    ///
    /// # Errors
    /// Another one does just now.
    pub(super) fn lock(&self) -> io::Result<File> {
        let file = private(&self.0.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("another replica is at it")),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Says that a flowgate runs something here, until it is dropped or that flowgate has ended; whoever
    /// has a lease after another may do so beside it. Blocks for a moment.
    pub(super) fn hold(&self) -> io::Result<File> {
        let file = private(&self.0.join(OWNER))?;
        file.lock_shared().map(|()| file)
    }

    fn is_held(&self) -> bool {
        let file = File::open(self.0.join(OWNER));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// Whether the flowgate that started it is there still: then it is nobody else's to end, but for
    /// who has its lease.
    fn has_owner(&self, note: &Note) -> bool {
        // Of one in another container, or before a boot, nothing is seen but what it holds.
        note.owner.is_alive().unwrap_or_else(|| self.is_held())
    }

    /// Ends what was left running here, by whomever: the caller has the runtime's lease. Blocks.
    ///
    /// # Errors
    /// Somebody has had the lease since; or what runs here is out of reach.
    pub(super) fn end_orphan(&self, fence: u64) -> io::Result<()> {
        let Some(note) = self.noted() else { return Ok(()) };
        if note.fence > fence && self.has_owner(&note) {
            return Err(io::Error::other("another replica has started it since"));
        }
        if !note.is_in_sight() && self.has_owner(&note) {
            return Err(io::Error::other("a flowgate in another container runs it"));
        }
        if note.end() {
            tracing::warn!(pid = note.pid, "a runtime that was left behind was ended");
        }
        self.forget();
        Ok(())
    }

    /// The runtime of that note has ended.
    pub(super) fn forget_this(&self, note: &Note) {
        if self.noted().as_ref() == Some(note) {
            self.forget();
        }
    }
}

/// Ends what a flowgate that is gone left running in any folder. Returns what was noted, and whether
/// anything of it was ended.
pub(super) fn end_orphans(all: &Path) -> io::Result<Vec<(Note, bool)>> {
    make(all, PASSABLE)?;
    let mut notes = Vec::new();
    for entry in std::fs::read_dir(all)? {
        let folder = Folder(entry?.path());
        let Some(note) = folder.noted() else { continue };
        let is_left = !folder.has_owner(&note);
        let ended = is_left && note.end();
        if is_left {
            folder.forget();
        }
        notes.push((note, ended));
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a flowgate of our boot wrote whose process numbers are others.
    fn elsewhere(fence: u64) -> Note {
        let mut note = Note::of(std::process::id(), 20_000, fence).unwrap();
        note.world = format!("{} pid:[1]", note.world.split(' ').next().unwrap());
        let owner = serde_json::to_value(&note.owner).unwrap();
        let mut owner: serde_json::Map<_, _> = owner.as_object().unwrap().clone();
        owner.insert("world".to_owned(), note.world.clone().into());
        note.owner = serde_json::from_value(owner.into()).unwrap();
        note
    }

    #[test]
    fn what_runs_in_another_container_is_neither_forgotten_nor_started_twice() {
        let all = tempfile::tempdir().unwrap();
        let folder = Folder(all.path().join("mike-5"));
        make(&folder.0, PASSABLE).unwrap();
        folder.note(&elsewhere(5)).unwrap();
        let held = folder.hold().unwrap();
        let fault = folder.end_orphan(6).unwrap_err().to_string();
        assert_eq!(fault, "a flowgate in another container runs it");
        let noted = end_orphans(all.path()).unwrap();
        assert_eq!((noted.len(), noted[0].1, folder.noted()), (1, false, Some(elsewhere(5))));
        // Whoever owns it next may hold it beside one that was held up.
        let beside = folder.hold().unwrap();
        drop(held);
        assert!(folder.end_orphan(6).is_err());
        drop(beside);
        // Its container has ended, and all that ran there with it.
        folder.end_orphan(6).unwrap();
        assert_eq!(folder.noted(), None);
    }
}

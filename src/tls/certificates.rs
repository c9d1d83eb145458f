//! Certificates for clients: read, checked, chosen by the name that a client asks for (SNI, RFC 6066
//! section 3), and read again when their files change.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustix::process::geteuid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use zeroize::Zeroizing;

use super::provider;
use crate::clock::{UnixMillis, Wall};
use crate::secret::BEYOND_GROUP_READ;

/// How often the files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);
/// An end that is nearer than this is warned of.
const END_WARNED_OF: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a certificate is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and what leads from it to a root, in PEM.
    pub chain: PathBuf,
    /// Its private key, in PEM; may be the same file.
    pub key: PathBuf,
}

/// `CERTIFICATE:KEY`, or one file with both.
impl FromStr for CertificateFiles {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (chain, key) = text.split_once(':').unwrap_or((text, text));
        if chain.is_empty() || key.is_empty() || key.contains(':') {
            return Err("must be CERTIFICATE:KEY, two files in PEM, or one file with both");
        }
        Ok(Self { chain: chain.into(), key: key.into() })
    }
}

impl CertificateFiles {
    /// The certificate and its key, to be shown to a server.
    ///
    /// # Errors
    /// As for [`Certificates::load`].
    pub fn read(&self) -> Result<Arc<CertifiedKey>, CertificateFault> {
        Certificate::read(self).map(|certificate| certificate.key)
    }
}

/// Why a certificate is of no use: one line, without anything of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFault(String);

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fault(path: &Path, what: impl fmt::Display) -> CertificateFault {
    CertificateFault(format!("{}: {what}", path.display()))
}

/// One certificate that may be presented.
struct Certificate {
    files: CertificateFiles,
    /// In lower case; a wildcard begins with `*.`.
    names: Vec<String>,
    begin: UnixMillis,
    end: UnixMillis,
    key: Arc<CertifiedKey>,
}

/// What to present to whom.
struct Table {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl Table {
    /// Exact names come before wildcards, which stand for one label; of two certificates with the same
    /// name the earlier one counts.
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(wildcard)
    }
}

/// What tells that a file is another one than before; none if it is not there.
pub type Stamp = Option<(u64, u64, u64, i64, i64, u32)>;

/// The certificates of one kind of listener.
pub struct Certificates {
    files: Vec<CertificateFiles>,
    wall: Wall,
    table: RwLock<Arc<Table>>,
    stamps: Mutex<Vec<Stamp>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads and checks them, and logs what they are for. The first one is for clients that ask for no
    /// name, or for one that none has.
    ///
    /// # Errors
    /// A file cannot be read, is no PEM, can be read by others though it holds a key, or key and
    /// certificate do not belong together.
    pub fn load(files: Vec<CertificateFiles>, wall: Wall) -> Result<Self, CertificateFault> {
        let stamps = stamps(&files);
        let table = read_all(&files, wall.now())?;
        Ok(Self { files, wall, table: RwLock::new(Arc::new(table)), stamps: Mutex::new(stamps) })
    }

    /// Reads the files again if one of them has changed since they were read last. Blocks.
    pub fn look(&self) {
        let now = stamps(&self.files);
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if *stamps != now {
            *stamps = now;
            drop(stamps);
            self.reload();
        }
    }

    /// Reads the files again. What is wrong is logged, and then the old certificates stay. Connections
    /// that are there keep what they have. Blocks.
    pub fn reload(&self) {
        match read_all(&self.files, self.wall.now()) {
            Ok(table) => {
                *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
            }
            Err(error) => tracing::error!(%error, "certificates not reloaded: the old ones stay"),
        }
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table();
        let found = hello.server_name().and_then(|name| table.find(name));
        Some(Arc::clone(found.unwrap_or(&table.first)))
    }
}

/// A file's stamp as it is now. Blocks.
#[must_use]
pub fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    let (mtime, nanoseconds) = (found.mtime(), found.mtime_nsec());
    Some((found.dev(), found.ino(), found.size(), mtime, nanoseconds, found.mode()))
}

fn stamps(files: &[CertificateFiles]) -> Vec<Stamp> {
    files.iter().flat_map(|files| [stamp(&files.chain), stamp(&files.key)]).collect()
}

fn read_all(files: &[CertificateFiles], now: UnixMillis) -> Result<Table, CertificateFault> {
    let mut by_name = HashMap::new();
    let mut first = None;
    // All of them, before anything is said about one.
    let all: Vec<_> = files.iter().map(Certificate::read).collect::<Result<_, _>>()?;
    for certificate in all {
        certificate.report(now);
        for name in certificate.names {
            by_name.entry(name).or_insert_with(|| Arc::clone(&certificate.key));
        }
        first.get_or_insert(certificate.key);
    }
    let first = first.ok_or_else(|| CertificateFault("there is no certificate".to_owned()))?;
    Ok(Table { by_name, first })
}

impl Certificate {
    fn read(files: &CertificateFiles) -> Result<Self, CertificateFault> {
        let CertificateFiles { chain: chain_path, key: key_path } = files;
        let chain = read_file(chain_path, false)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<_, _>>()
            .map_err(|_| fault(chain_path, "is no certificate in PEM"))?;
        let leaf = chain.first().ok_or_else(|| fault(chain_path, "has no certificate in it"))?;
        let bad = |error: webpki::Error| fault(chain_path, format!("is of no use: {error}"));
        let parsed = EndEntityCert::try_from(leaf).map_err(bad)?;
        let names = parsed.valid_dns_names().map(str::to_ascii_lowercase).collect();
        let (begin, end) = validity(&parsed).map_err(bad)?;

        let pem = read_file(key_path, true)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| fault(key_path, "has no private key in PEM in it"))?;
        // What rustls says of a key is about its form.
        let key = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| fault(key_path, format!("not the certificate's key: {error}")))?;
        Ok(Self { files: files.clone(), names, begin, end, key: Arc::new(key) })
    }

    fn report(&self, now: UnixMillis) {
        let file = self.files.chain.display();
        let (names, until) = (self.names.join(", "), self.end);
        if self.end <= now {
            tracing::warn!(%file, names, %until, "the certificate has expired");
        } else if now < self.begin {
            tracing::warn!(%file, names, from = %self.begin, "the certificate is not valid yet");
        } else if self.end < now.plus(END_WARNED_OF) {
            tracing::warn!(%file, names, %until, "the certificate expires soon");
        } else {
            tracing::info!(%file, names, %until, "certificate");
        }
    }
}

/// From when until when a certificate is valid. webpki tells only whoever asks at a wrong time, and
/// before it asks who has signed it.
fn validity(certificate: &EndEntityCert<'_>) -> Result<(UnixMillis, UnixMillis), webpki::Error> {
    let at = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let usage = KeyUsage::server_auth();
        let verified =
            certificate.verify_for_usage(ALL_VERIFICATION_ALGS, &[], &[], time, usage, None, None);
        verified.err()
    };
    let millis = |time: UnixTime| UnixMillis(time.as_secs().saturating_mul(1000));
    let begin = match at(0) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => millis(not_before),
        Some(webpki::Error::UnknownIssuer) | None => UnixMillis(0),
        Some(error) => return Err(error),
    };
    let end = match at(u64::from(u32::MAX) * 1000) {
        Some(webpki::Error::CertExpired { not_after, .. }) => millis(not_after),
        Some(webpki::Error::UnknownIssuer) | None => UnixMillis(u64::MAX),
        Some(error) => return Err(error),
    };
    Ok((begin, end))
}

/// Until when a certificate is valid, since 1970; one that cannot be read never was.
pub(super) fn end_of(certificate: &CertificateDer<'_>) -> Duration {
    let end = EndEntityCert::try_from(certificate).and_then(|parsed| validity(&parsed));
    end.map_or(Duration::ZERO, |(_, end)| Duration::from_millis(end.0))
}

/// What must not be in the mode of a private key's file, and what it should be. The group may read one
/// that is somebody else's: on a volume of Kubernetes it is root's, and the process has the group alone.
fn forbidden_mode(owner: u32, process: u32) -> (u32, &'static str) {
    if owner == process { (0o077, "600") } else { (BEYOND_GROUP_READ, "640") }
}

/// The file as it is; wiped when dropped. A secret one must not be for others.
fn read_file(path: &Path, is_secret: bool) -> Result<Zeroizing<Vec<u8>>, CertificateFault> {
    let file = File::open(path).map_err(|error| fault(path, error))?;
    let metadata = file.metadata().map_err(|error| fault(path, error))?;
    let (forbidden, wanted) = forbidden_mode(metadata.uid(), geteuid().as_raw());
    if is_secret && metadata.mode() & forbidden != 0 {
        let mode = metadata.mode() & 0o777;
        let what = "holds a private key that others may read";
        return Err(fault(path, format!("{what} (mode {mode:03o}): chmod {wanted}")));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(fault(path, "is over 1 MiB"));
    }
    // At once as large as needed: what a growing one leaves behind is not wiped.
    let room = usize::try_from(metadata.len()).unwrap_or_default() + 1;
    let mut contents = Zeroizing::new(Vec::with_capacity(room));
    file.take(FILE_BYTES_MAX).read_to_end(&mut contents).map_err(|error| fault(path, error))?;
    Ok(contents)
}

#[cfg(test)]
mod tests;

//! Certificates and keys from PEM files. Reads no more of a file than one can have, and shows nothing of a key.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// More than any file of certificates has; all public authorities together take a fifth of it.
const FILE_BYTES: u64 = 1 << 20;

/// A file of a certificate, a key or authorities that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what was expected.
    pub why: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for BadFile {}

impl BadFile {
    /// This file, for this reason.
    pub fn new(path: &Path, why: impl Into<String>) -> BadFile {
        BadFile { path: path.into(), why: why.into() }
    }
}

/// The certificates in a file, the server's or client's own first.
///
/// # Errors
/// The file cannot be read, or contains no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(BadFile::new(path, "contains no certificate; expected PEM (BEGIN CERTIFICATE)")),
        Err(error) => Err(BadFile::new(path, format!("is not PEM ({error}); expected certificates"))),
    }
}

/// The private key in a file, in any of the forms that openssl writes without a passphrase.
///
/// # Errors
/// The file cannot be read, or contains no key.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, BadFile> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        BadFile::new(path, "contains no private key; expected PEM without a passphrase (BEGIN PRIVATE KEY)")
    })
}

/// The authorities in a file.
///
/// # Errors
/// The file cannot be read, or contains no certificate that can be an authority.
pub fn authorities(path: &Path) -> Result<RootCertStore, BadFile> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates(path)?);
    match usable {
        0 => Err(BadFile::new(path, "contains no certificate that can be read; expected those of authorities")),
        _ => Ok(roots),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BadFile> {
    let mut text = Vec::new();
    let result = File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut text));
    match result {
        Ok(_) if text.len() as u64 <= FILE_BYTES => Ok(text),
        Ok(_) => Err(BadFile::new(path, format!("larger than {FILE_BYTES} bytes; expected certificates or a key"))),
        Err(error) => Err(BadFile::new(path, format!("cannot read it ({error})"))),
    }
}

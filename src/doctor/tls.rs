//! Checks of TLS: the certificate, its key, and listening without either.

use super::{Facts, Finding};
use crate::{
    clock::{timestamp, wall_ms},
    config::{NOBODY_LET_IN, Paths, Settings},
    net::listen::Bind,
    tls::{Certificate, CertificateError, Files, Tls},
};
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

/// Time that is enough to renew a certificate, days.
const SOON: u64 = 14;

/// The settings and the files, where TLS is asked for.
fn files(facts: &Facts) -> Option<(&Settings, Files)> {
    let settings = facts.settings.as_ref().ok()?;
    settings.config.tls.files(&settings.paths).map(|files| (settings, files))
}

/// Reports that there is no usable certificate.
pub fn certificate(facts: &Facts) -> Vec<Finding> {
    let Ok(settings) = &facts.settings else { return Vec::new() };
    let closed = settings.notices.iter().find_map(|line| line.strip_suffix(NOBODY_LET_IN));
    let Some(what) = closed else { return Vec::new() };
    let why = "a gateway that starts admits nobody, rather than without TLS; one that runs keeps the certificate it had";
    let read = settings.config.tls.files(&settings.paths).map(|files| Certificate::read(&files));
    let fix = match read {
        Some(Err(e)) => fix(&e, &settings.paths),
        _ => format!("edit {}", settings.paths.config_file.display()),
    };
    vec![Finding::error(what.trim_end_matches([';', ' ']), why, fix)]
}

fn fix(error: &CertificateError, paths: &Paths) -> String {
    match error {
        CertificateError::Unreadable(_, path, e) if e.kind() == ErrorKind::PermissionDenied => {
            format!("let the gateway's account read it: namei -l {}", path.display())
        }
        CertificateError::Unreadable(key, ..) => format!("barnacle config set {key} <a file that is there>"),
        CertificateError::NoPem(_, path, what) => {
            let command = if *what == "certificate" { "x509" } else { "pkey" };
            format!("openssl {command} -inform der -in {0} -out {0}, if it is DER", path.display())
        }
        CertificateError::Mismatch(_) => {
            "put certificate and key of one issue there; they are used as soon as they match".into()
        }
        CertificateError::Encrypted(key) => {
            format!("openssl pkey -in {0} -out {0}.plain && mv {0}.plain {0} && chmod 600 {0}", key.display())
        }
        CertificateError::WeakKey(key, _) => format!(
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {}, and have a certificate issued for it",
            key.display()
        ),
        CertificateError::Refused(path, _) => {
            format!("openssl x509 -noout -text -in {} shows it", path.display())
        }
        CertificateError::Half(there, _) => format!("mv {0} {0}.away", there.display()),
        CertificateError::Missing(_) => {
            "barnacle config set gateway.tls.autoGenerate true, or put both there".into()
        }
        CertificateError::NotMade(path, _) => {
            format!("let the gateway's account write there: namei -l {}", path.display())
        }
        CertificateError::NotBuilt => {
            format!("barnacle config set gateway.tls.enabled false ({})", paths.config_file.display())
        }
    }
}

/// Reports a certificate that has expired, expires soon, or is not valid yet.
pub fn validity(facts: &Facts) -> Vec<Finding> {
    let Some((_, files)) = files(facts) else { return Vec::new() };
    let Some(validity) = Certificate::validity_in(&files.cert) else { return Vec::new() };
    let at = |ms| timestamp(ms).chars().filter(char::is_ascii_digit).take(14).collect::<String>();
    let (now, soon) = (at(wall_ms()), at(wall_ms() + SOON * 86_400_000));
    let cert = files.cert.display();
    let day = |time: &str| format!("{}-{}-{}", &time[..4], &time[4..6], &time[6..8]);
    let refused = "clients that check the date refuse it; clients that pin its fingerprint do not";
    let renew = "renew it in place: the next connection gets it, without a restart";
    let (from, until) = (day(&validity.from), day(&validity.until));
    if validity.until < now {
        return vec![Finding::error(format!("{cert} was valid until {until}"), refused, renew)];
    }
    if validity.from > now {
        let what = format!("{cert} is valid from {from}, and the clock says {}", timestamp(wall_ms()));
        return vec![Finding::error(what, refused, "timedatectl; sudo timedatectl set-ntp true")];
    }
    let ends = validity.until < soon;
    let finding = || Finding::warning(format!("{cert} is valid until {until} only"), refused, renew);
    ends.then(finding).into_iter().collect()
}

/// Reports a key that others can read, or the gateway cannot.
pub fn key(facts: &Facts) -> Vec<Finding> {
    let Some((settings, files)) = files(facts) else { return Vec::new() };
    let mut found = Vec::new();
    let own = fs::metadata(&settings.paths.state_dir).map(|m| m.uid());
    for path in [&files.key, &files.cert] {
        let (Ok(meta), Ok(own)) = (fs::metadata(path), &own) else { continue };
        let (mode, shown) = (meta.permissions().mode() & 0o7777, path.display());
        // It may be of a group that it has the file by.
        if matches!(settings.tls, Tls::On(_)) && *own != 0 && meta.uid() != *own && mode & 0o044 == 0 {
            found.push(Finding::error(
                format!(
                    "{shown} is readable by uid {} alone (mode {mode:04o}), and the gateway runs as uid {own}",
                    meta.uid()
                ),
                "the gateway cannot read it, and admits nobody at its next start",
                format!("sudo chown {own} {shown}"),
            ));
        }
    }
    let Ok(meta) = fs::metadata(&files.key) else { return found };
    let (mode, path) = (meta.permissions().mode() & 0o7777, files.key);
    if mode & 0o007 != 0 {
        let what = format!("{} is open to every account (mode {mode:04o})", path.display());
        let why = "who has the key can impersonate this gateway";
        let finding = Finding::error(what, why, format!("chmod o-rwx {}", path.display()));
        found.push(finding.repaired_by(move || {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & !0o007))?;
            Ok(format!("{} is mode {:04o} now", path.display(), mode & !0o007))
        }));
    }
    found
}

/// Reports `gateway.tls.caPath`, which is not used.
pub fn authorities(facts: &Facts) -> Vec<Finding> {
    let Some((_, files)) = files(facts).filter(|(settings, _)| settings.config.tls.ca.is_some()) else {
        return Vec::new();
    };
    let why = "no client is asked for a certificate, and the one that is served is in gateway.tls.certPath";
    let fix = format!(
        "append the intermediate certificates to {}; barnacle config unset gateway.tls.caPath",
        files.cert.display()
    );
    vec![Finding::warning("gateway.tls.caPath has no effect in this version", why, fix)]
}

/// Reports a gateway that other hosts reach without encryption.
pub fn unencrypted(facts: &Facts) -> Vec<Finding> {
    let Ok(settings) = &facts.settings else { return Vec::new() };
    let at = match settings.where_to_listen() {
        Bind::Lan => "on every address".into(),
        Bind::Address(ip) => format!("on {ip}"),
        // A tailnet encrypts below.
        Bind::Loopback | Bind::Tailnet => return Vec::new(),
    };
    if settings.config.tls.enabled {
        return Vec::new();
    }
    let what = format!("the gateway listens {at}, without TLS");
    let why =
        "without a VPN or a TLS proxy in between, the network can read everything, the shared token too";
    vec![Finding::warning(what, why, "barnacle config set gateway.tls.enabled true")]
}

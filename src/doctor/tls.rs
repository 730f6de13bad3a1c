//! Checks of TLS: the certificate, its key, and where there is neither.

use super::{Facts, Finding};
use crate::{
    clock::{timestamp, wall_ms},
    config::{NOBODY_LET_IN, Paths, Settings},
    net::listen::Bind,
    tls::{Certificate, Fault, Files, Tls},
};
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

/// What is enough to renew a certificate, days.
const SOON: u64 = 14;

/// The settings and the files, where TLS is asked for.
fn files(facts: &Facts) -> Option<(&Settings, Files)> {
    let settings = facts.settings.as_ref().ok()?;
    settings.config.tls.files(&settings.paths).map(|files| (settings, files))
}

/// There is no certificate that could be shown.
pub fn certificate(facts: &Facts) -> Vec<Finding> {
    let Ok(settings) = &facts.settings else { return Vec::new() };
    let closed = settings.notices.iter().find_map(|line| line.strip_suffix(NOBODY_LET_IN));
    let Some(what) = closed else { return Vec::new() };
    let why = "nobody is let in at a start, rather than without TLS; one that runs goes on with what it had";
    let read = settings.config.tls.files(&settings.paths).map(|files| Certificate::read(&files));
    let mend = match read {
        Some(Err(fault)) => mend(&fault, &settings.paths),
        _ => format!("edit {}", settings.paths.config_file.display()),
    };
    vec![Finding::fault(what.trim_end_matches([';', ' ']), why, mend)]
}

fn mend(fault: &Fault, paths: &Paths) -> String {
    match fault {
        Fault::Unreadable(_, path, e) if e.kind() == ErrorKind::PermissionDenied => {
            format!("let the gateway's account read it: namei -l {}", path.display())
        }
        Fault::Unreadable(key, ..) => format!("barnacle config set {key} <a file that is there>"),
        Fault::NoPem(_, path, what) => {
            let command = if *what == "certificate" { "x509" } else { "pkey" };
            format!("openssl {command} -inform der -in {0} -out {0}, if it is DER", path.display())
        }
        Fault::Mismatch(_) => {
            "put certificate and key of one issue there; they count as soon as they do".into()
        }
        Fault::Refused(path, _) => {
            format!("openssl x509 -noout -text -in {} says what it is", path.display())
        }
        Fault::Half(there, _) => format!("mv {0} {0}.away", there.display()),
        Fault::Missing(_) => "barnacle config set gateway.tls.autoGenerate true, or put both there".into(),
        Fault::NotMade(path, _) => {
            format!("let the gateway's account write there: namei -l {}", path.display())
        }
        Fault::NotBuilt => {
            format!("barnacle config set gateway.tls.enabled false ({})", paths.config_file.display())
        }
    }
}

/// The certificate is valid no longer, or will not be soon, or is not yet.
pub fn validity(facts: &Facts) -> Vec<Finding> {
    let Some((_, files)) = files(facts) else { return Vec::new() };
    let Some(validity) = Certificate::validity_in(&files.cert) else { return Vec::new() };
    let at = |ms| timestamp(ms).chars().filter(char::is_ascii_digit).take(14).collect::<String>();
    let (now, soon) = (at(wall_ms()), at(wall_ms() + SOON * 86_400_000));
    let cert = files.cert.display();
    let day = |time: &str| format!("{}-{}-{}", &time[..4], &time[4..6], &time[6..8]);
    let refused = "who checks the date refuses it; who was told its fingerprint does not look at the date";
    let renew = "renew it in place: it is shown as soon as it is there, to who connects next";
    let (from, until) = (day(&validity.from), day(&validity.until));
    if validity.until < now {
        return vec![Finding::fault(format!("{cert} was valid until {until}"), refused, renew)];
    }
    if validity.from > now {
        let what = format!("{cert} is valid from {from}, and the clock says {}", timestamp(wall_ms()));
        return vec![Finding::fault(what, refused, "timedatectl; sudo timedatectl set-ntp true")];
    }
    let ends = validity.until < soon;
    let finding = || Finding::note(format!("{cert} is valid until {until} only"), refused, renew);
    ends.then(finding).into_iter().collect()
}

/// The key is open to others, or closed to the gateway.
pub fn key(facts: &Facts) -> Vec<Finding> {
    let Some((settings, files)) = files(facts) else { return Vec::new() };
    let mut found = Vec::new();
    let own = fs::metadata(&settings.paths.state_dir).map(|m| m.uid());
    for path in [&files.key, &files.cert] {
        let (Ok(meta), Ok(own)) = (fs::metadata(path), &own) else { continue };
        let (mode, shown) = (meta.permissions().mode() & 0o7777, path.display());
        // It may be of a group that it has the file by.
        if matches!(settings.tls, Tls::On(_)) && *own != 0 && meta.uid() != *own && mode & 0o044 == 0 {
            found.push(Finding::fault(
                format!(
                    "{shown} is uid {}'s alone (mode {mode:04o}), and the gateway is uid {own}'s",
                    meta.uid()
                ),
                "the gateway cannot read it, and lets nobody in at its next start",
                format!("sudo chown {own} {shown}"),
            ));
        }
    }
    let Ok(meta) = fs::metadata(&files.key) else { return found };
    let (mode, path) = (meta.permissions().mode() & 0o7777, files.key);
    if mode & 0o007 != 0 {
        let what = format!("{} is open to every account (mode {mode:04o})", path.display());
        let why = "whoever has the key can pass for this gateway";
        let fault = Finding::fault(what, why, format!("chmod o-rwx {}", path.display()));
        found.push(fault.fixed_by(move || {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & !0o007))?;
            Ok(format!("{} is mode {:04o} now", path.display(), mode & !0o007))
        }));
    }
    found
}

/// `gateway.tls.caPath`, which is not used.
pub fn authorities(facts: &Facts) -> Vec<Finding> {
    let Some((_, files)) = files(facts).filter(|(settings, _)| settings.config.tls.ca.is_some()) else {
        return Vec::new();
    };
    let why = "no client is asked for a certificate, and what is shown is what gateway.tls.certPath holds";
    let mend = format!(
        "put what stands between yours and the authority's below yours in {}; barnacle config unset \
         gateway.tls.caPath",
        files.cert.display()
    );
    vec![Finding::note("gateway.tls.caPath counts for nothing in this version", why, mend)]
}

/// Others reach it, and nothing is encrypted.
pub fn unencrypted(facts: &Facts) -> Vec<Finding> {
    let Ok(settings) = &facts.settings else { return Vec::new() };
    let at = match settings.where_to_listen() {
        Bind::Lan => "on every address".into(),
        Bind::Address(ip) => format!("on {ip}"),
        // A tailnet's are encrypted below.
        Bind::Loopback | Bind::Tailnet => return Vec::new(),
    };
    if settings.config.tls.enabled {
        return Vec::new();
    }
    let what = format!("the gateway listens {at}, without TLS");
    let why = "unless a VPN or a TLS proxy is between, whoever is on the way reads all, the shared token too";
    vec![Finding::note(what, why, "barnacle config set gateway.tls.enabled true")]
}

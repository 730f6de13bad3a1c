//! Keys under `gateway.tls`: whether new connections speak TLS, and with which certificate.

use super::{Effect::*, Key, Kind::*, Visibility::*, flag, flag_unless_wrong, key};

#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    key("gateway.tls.enabled", flag_unless_wrong(false, true), Tls, Public,
        "TLS", "Whether new connections speak TLS."),
    key("gateway.tls.autoGenerate", flag(true, false), Tls, Public,
        "TLS Auto-Generate", "Whether a self-signed certificate is made where there is none."),
    key("gateway.tls.certPath", Text, Tls, Public,
        "TLS Certificate Path", "Certificate, PEM; without the key: `gateway/tls/gateway-cert.pem` in the state directory."),
    key("gateway.tls.keyPath", Text, Tls, Public,
        "TLS Key Path", "Its private key, PEM; without the key: `gateway/tls/gateway-key.pem` in the state directory."),
    key("gateway.tls.caPath", Text, Unsupported, Public,
        "TLS CA Path", "Certificates of authorities; those between yours and the authority's belong into certPath."),
];

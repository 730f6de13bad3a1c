//! Headers on their way through: those of one connection end here (RFC 9110 §7.6.1), and those by which a proxy says
//! who asks are never taken from a client.

use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName};

/// Headers of one connection, besides those that `Connection` names.
const OF_A_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers by which a proxy says who asks, or beginnings of them. OpenClaw drops a request with any of the first four
/// unless it trusts its peer as a proxy.
const OF_A_PROXY: &[&str] = &[
    "forwarded",
    "x-forwarded-",
    "x-real-ip",
    "tailscale-",
    "via",
    "cf-access-",
    "cf-connecting-ip",
    "true-client-ip",
    "x-client-ip",
    "x-auth-request-",
    "x-envoy-external-address",
];

/// Leaves what is for the other end.
pub(super) fn to_the_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Whoever names these means no harm, or too much.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named.iter().map(HeaderName::as_str).chain(OF_A_CONNECTION.iter().copied()) {
        headers.remove(name);
    }
}

/// The same for a request, which also loses what a client may not say of itself. `Expect` was answered by then.
pub(super) fn of_a_client(headers: &mut HeaderMap) {
    to_the_end(headers);
    headers.remove(EXPECT);
    let forged = |name: &&HeaderName| {
        OF_A_PROXY.iter().any(|proxy| match proxy.ends_with('-') {
            true => name.as_str().starts_with(proxy),
            false => name.as_str() == *proxy,
        })
    };
    let forged: Vec<HeaderName> = headers.keys().filter(forged).cloned().collect();
    for name in &forged {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on() {
        for (name, request, answer) in [
            ("host", true, true),
            ("cookie", true, true),
            ("content-length", true, true),
            ("authorization", true, true),
            ("x-openclaw-token", true, true),
            ("origin", true, true),
            ("connection", false, false),
            ("keep-alive", false, false),
            ("x-named", false, false),
            ("te", false, false),
            ("transfer-encoding", false, false),
            ("upgrade", false, false),
            ("proxy-authorization", false, false),
            ("expect", false, true),
            ("forwarded", false, true),
            ("x-forwarded-for", false, true),
            ("x-forwarded-user", false, true),
            ("x-real-ip", false, true),
            ("tailscale-user-login", false, true),
            ("tailscale-funnel-request", false, true),
            ("via", false, true),
            ("viable", true, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("connection", hyper::header::HeaderValue::from_static("close, X-Named, Host"));
            headers.append(HeaderName::from_static(name), hyper::header::HeaderValue::from_static("1"));
            let mut back = headers.clone();
            of_a_client(&mut headers);
            to_the_end(&mut back);
            assert_eq!((headers.contains_key(name), back.contains_key(name)), (request, answer), "{name}");
        }
    }
}

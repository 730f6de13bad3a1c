//! A file on its way to a browser: read by worker threads, a chunk at a time, as fast as it is taken.

use super::{accept::codings, date::http_date, document, files::Files, path::kind, secure, text};
use crate::{host::open_nonblocking, net::http::Body, reactor::on_worker};
use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY,
    },
    http::request::Parts,
};
use smol::stream;
use std::{fs::File, io::Read, os::unix::fs::MetadataExt, sync::Arc};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// A file that is open.
struct Opened {
    file: File,
    length: u64,
    /// Time of its last change, as HTTP writes it.
    modified: String,
    /// Name of the encoding in which it lies there, if any.
    coding: Option<&'static str>,
    /// What of it is read already: all of a small one.
    first: Vec<u8>,
}

/// Opens `name`, in the first of `codings` in which it lies there.
fn open(files: &Files, name: &str, codings: &[(&'static str, &'static str)]) -> Option<Opened> {
    // Beside the file itself, so that what is no file here is none in any encoding.
    files.path(name)?;
    let encoded = codings.iter().map(|(coding, end)| (Some(*coding), format!("{name}{end}")));
    let plain = [(None, name.to_owned())];
    encoded.chain(plain).find_map(|(coding, name)| {
        let file = open_nonblocking(&files.path(&name)?).ok()?;
        let of = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let modified = http_date(of.mtime().max(0) as u64);
        let mut opened = Opened { file, length: of.len(), modified, coding, first: Vec::new() };
        opened.first = read(&mut opened.file).ok()?;
        Some(opened)
    })
}

/// The next bytes of a file; none at its end.
fn read(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The answer to a request for the file `name`; `None` where there is none.
pub(super) async fn file(files: Arc<Files>, name: &str, head: &Parts) -> Option<Response<Body>> {
    let takes = codings(text(&head.headers, ACCEPT_ENCODING));
    let opened = {
        let (files, name) = (files.clone(), name.to_owned());
        on_worker(move || open(&files, &name, &takes)).await?
    };
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind(name).unwrap_or("application/octet-stream")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cached(&files, name, head.uri.query())));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(modified) = opened.modified.as_str().try_into() {
        headers.insert(LAST_MODIFIED, modified);
    }
    secure(headers, &document::policy(&[]));
    // An entity tag counts before a date, and of those there is none that a file here has.
    let unchanged = match text(&head.headers, IF_NONE_MATCH) {
        Some(tags) => tags.trim() == "*",
        None => text(&head.headers, IF_MODIFIED_SINCE).is_some_and(|since| since.trim() == opened.modified),
    };
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some(response);
    }
    if let Some(coding) = opened.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, opened.length.into());
    if head.method != Method::HEAD {
        *response.body_mut() = body(opened);
    }
    Some(response)
}

/// How long a browser may keep a file. What is named by its content or its build never changes under that name; a folder
/// of the user's may be built anew at any time.
fn cached(files: &Files, name: &str, query: Option<&str>) -> &'static str {
    let build = &files.document.build;
    let versioned = query.is_some_and(|query| {
        query.split('&').any(|pair| pair.strip_prefix("v=") == Some(build)) && !build.is_empty()
    });
    match name != "sw.js" && !files.custom && (name.starts_with("assets/") || versioned) {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    }
}

/// The bytes of a file. One that shrinks meanwhile ends the connection, since its length is declared.
fn body(opened: Opened) -> Body {
    let Opened { file, length, first, .. } = opened;
    if first.len() as u64 == length {
        return Body::Full(first.into());
    }
    Body::stream(stream::try_unfold((file, first, length), |(mut file, chunk, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        if chunk.is_empty() {
            return Err(std::io::Error::other("a file shrank while it was sent"));
        }
        let mut chunk = chunk;
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - chunk.len() as u64;
        let next = match left {
            0 => Ok((file, Vec::new())),
            _ => {
                on_worker(move || {
                    let next = read(&mut file)?;
                    Ok::<_, std::io::Error>((file, next))
                })
                .await
            }
        };
        let (file, next) = next?;
        Ok(Some((Bytes::from(chunk), (file, next, left))))
    }))
}

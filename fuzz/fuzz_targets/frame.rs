//! Frames: any text is a request or a fault, and every reader of its fields answers.

#![no_main]

use barnacle::internals::protocol::{
    BadFrame, Connect, ErrorCode, ErrorShape, Json, Params, RequestFrame, raw_member, refusal, response,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let request = match RequestFrame::parse(text) {
        Ok(request) => request,
        Err((fault, id)) => {
            assert!(id.is_none() || fault != BadFrame::NotJson);
            if let Some(id) = id {
                let _ = refusal(&id, &ErrorShape::new(ErrorCode::InvalidRequest, fault.to_string()));
            }
            return;
        }
    };
    assert!(!request.id.is_empty() && !request.method.is_empty());
    // What goes out repeats the client's id: it must not break out of its quotes.
    let answer = response(&request.id, &Json::null());
    let echoed = answer.replacen(r#""type":"res""#, r#""type":"req","method":"m""#, 1).replacen(
        r#","payload":null"#,
        "",
        1,
    );
    let again = RequestFrame::parse(&echoed).unwrap_or_else(|_| panic!("not JSON: {answer}"));
    assert_eq!(again.id, request.id);

    if let Some(raw) = raw_member(text, "params") {
        let again = format!(r#"{{"type":"req","id":"1","method":"m","params":{{"x":{raw}}}}}"#);
        assert!(RequestFrame::parse(&again).is_ok(), "cut out as {raw}");
    }
    let Ok(params) = request.params() else { return };
    read_all(&params, 0);
    if let Ok(connect) = Connect::read(&params) {
        let tokens: Vec<&str> = connect.auth.signed_tokens().collect();
        assert!(tokens.contains(&"") && tokens.len() <= 5);
        assert!(connect.commands.iter().chain(&connect.caps).all(|name| name.len() <= 256));
    }
});

/// Names of the objects that methods read.
const OBJECTS: [&str; 4] = ["client", "auth", "device", "x"];

/// Every reader on every field, and what is within.
fn read_all(params: &Params<'_>, depth: usize) {
    for (name, _) in params.entries() {
        let _ = (params.value(name), params.opt_str(name), params.str(name), params.strs(name));
        let _ = (params.opt_u64(name), params.u64(name), params.opt_bool(name));
    }
    for name in OBJECTS {
        if let (Ok(Some(within)), true) = (params.opt_object(name), depth < 8) {
            read_all(&within, depth + 1);
        }
    }
    let _ = params.object("absent").map_err(|fault| fault.to_string());
}

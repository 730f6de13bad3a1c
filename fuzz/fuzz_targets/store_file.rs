//! The store's file: arbitrary bytes never panic and never allocate by a hostile length; any registry that
//! can be made is read back as it was, and not from a file in which a bit differs.

#![no_main]

use barnacle::internals::{
    protocol::{PublicKey, RequestId, Role, Scopes, TokenHash},
    store::{Access, Registry, Display, GRACE_MS, Request, SETUP_CODE_MS, SetupCode, Via, codec},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = codec::decode(data);
    let _ = codec::decode(&codec::seal(data.to_vec())[..data.len()]);

    let mut registry = Registry::default();
    data.chunks(6).for_each(|step| change(&mut registry, step));
    registry.settle();
    let mut file = codec::seal(codec::encode(&registry, data.len() as u64));
    assert_eq!(codec::decode(&file).as_ref(), Ok(&(registry, data.len() as u64)));
    if let [low, high, bit, ..] = *data {
        let at = usize::from(u16::from_le_bytes([low, high])) % file.len();
        file[at] ^= 1 << (bit % 8);
        assert!(codec::decode(&file).is_err());
        file.truncate(at);
        assert!(codec::decode(&file).is_err());
    }
});

fn change(registry: &mut Registry, step: &[u8]) {
    let (kind, rest) = (step[0], &step[1..]);
    let byte = |n: usize| rest.get(n).copied().unwrap_or(0);
    let key = PublicKey([byte(0) % 8; 32]);
    let id = key.device_id();
    let role = if byte(1) % 2 == 0 { Role::Operator } else { Role::Node };
    let text = String::from_utf8_lossy(rest).into_owned();
    let scopes = Scopes::from_names([["operator.read", "operator.admin"][usize::from(byte(2) % 2)]]);
    let display = Display {
        name: Some(text.clone()),
        ip: (byte(3) % 2 == 0).then(|| text.clone()),
        ..Display::default()
    };
    let now_ms = u64::from(byte(4)) << (byte(3) % 56);
    match kind % 7 {
        0 => drop(registry.approve(key, role, scopes, &display, Via::Operator, now_ms)),
        1 => drop(registry.remove(&id, now_ms)),
        2 => {
            let id = RequestId(text);
            registry.request(Request {
                id,
                key,
                role,
                scopes,
                display,
                trusted: byte(3) % 2 == 0,
                created_ms: now_ms,
            });
        }
        3 => {
            let spent = (byte(3) % 2 == 0).then_some((id, now_ms));
            let (id, hash) = (RequestId(text.clone()), TokenHash::of(&text));
            registry.setup_codes_mut().push(SetupCode {
                id,
                hash,
                access: Access::Limited,
                spent,
                // Reading bounds it: a restart must give no code more time.
                left_ms: now_ms % (SETUP_CODE_MS + 1),
            });
        }
        4 => {
            if let Some(device) = registry.device_mut(&id) {
                device.label = Some(text.clone());
                device.node.approved.commands.push(text.clone());
                device.node.approved.permissions.insert(text, byte(3) % 2 == 0);
            }
        }
        5 => {
            if let Some(grant) = registry.device_mut(&id).and_then(|d| d.grant_mut(role)) {
                grant.revoked_ms = (byte(3) % 2 == 0).then_some(now_ms);
                grant.grace_ms = (byte(2) % 2 == 0).then_some(now_ms % (GRACE_MS + 1));
                grant.imported = Some(TokenHash::of(&text));
            }
        }
        _ => registry.retain_requests(|r| r.key != key),
    }
}

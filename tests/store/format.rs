//! A store file of format 1 as it lay on disk is read by every later version.

use barnacle::internals::{
    protocol::{PublicKey, RequestId, Role, Scope, Scopes, TokenHash},
    store::{
        Access, Device, Display, Grant, Node, NodeRequest, Registry, Request, SetupCode, Surface, Tombstone,
        Via, codec,
    },
};
use std::collections::BTreeMap;

/// Made by this test with `BARNACLE_BLESS=1`. Once a version that writes format 1 is out it must never
/// change: raise `codec::FORMAT` instead, and keep reading this.
const FORMAT_1: &[u8] = include_bytes!("format-1.bin");

/// A registry with something in every field.
fn full_book() -> Registry {
    let text = |text: &str| Some(text.to_owned());
    let display = Display {
        name: text("Küche"),
        platform: text("linux"),
        family: text("Raspberry Pi"),
        model: text("5"),
        version: text("2026.9.6"),
        client_id: text("cli"),
        client_mode: text("cli"),
        ip: text("192.168.1.20"),
    };
    let surface = |command: &str| Surface {
        caps: vec!["canvas".into()],
        commands: vec![command.into()],
        permissions: BTreeMap::from([("camera".into(), true), ("screen".into(), false)]),
    };
    let scopes = Scopes::from_iter([Scope::Read, Scope::Admin]);
    let id = |n: u8| RequestId(format!("00000000-0000-4000-8000-0000000000{n:02}"));
    let grant = Grant {
        rotated_ms: Some(2),
        revoked_ms: Some(3),
        grace_ms: Some(4),
        imported: Some(TokenHash([5; 32])),
        generation: 6,
        ..Grant::new(Role::Operator, scopes, 1)
    };
    let node = Node {
        approved: surface("canvas.present"),
        approved_ms: Some(7),
        pending: Some(NodeRequest { id: id(1), surface: surface("system.run"), created_ms: 8 }),
    };
    let device = Device {
        grants: vec![grant, Grant::new(Role::Node, Scopes::NONE, 9)],
        label: text("kitchen"),
        seen_ms: Some(10),
        node,
        ..Device::new(PublicKey([11; 32]), display.clone(), Via::Import, 12)
    };
    let request = Request {
        id: id(2),
        key: PublicKey([13; 32]),
        role: Role::Node,
        scopes,
        display,
        trusted: true,
        created_ms: 14,
    };
    let code = SetupCode {
        id: id(3),
        hash: TokenHash([15; 32]),
        access: Access::Limited,
        spent: Some((device.id(), 16)),
        left_ms: 17,
    };
    let removed = Tombstone { device: PublicKey([18; 32]).device_id(), removed_ms: 19, generation: 20 };
    let others = [Via::Silent, Via::Operator, Via::SetupCode].iter().enumerate();
    let others = others.map(|(n, via)| Device::new(PublicKey([n as u8; 32]), Display::default(), *via, 21));
    Registry::from_parts(others.chain([device]).collect(), vec![request], vec![code], vec![removed])
}

#[test]
fn format_1_round_trips() {
    let (registry, counter) = (full_book(), 22);
    let file = codec::seal(codec::encode(&registry, counter));
    if std::env::var_os("BARNACLE_BLESS").is_some() {
        return std::fs::write("tests/store/format-1.bin", &file).unwrap();
    }
    assert_eq!(codec::decode(FORMAT_1), Ok((registry, counter)));
    assert!(file == FORMAT_1, "what is written changed: raise codec::FORMAT");
}

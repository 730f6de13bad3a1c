//! The field cases: what went wrong for others, by the ids of the collection of public reports, and what
//! must hold here. Each row is shown by a function that drives the real gateway, or left out with a
//! word of reason.

#[path = "../wire/mod.rs"]
mod wire;

mod board;
mod broken;
mod credentials;
mod devices;
mod life;
mod nodes;
mod proof;
mod requests;
mod writes;

use std::{
    panic::catch_unwind,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

enum Case {
    /// Shown by this function.
    Shown(fn()),
    /// Shown by another suite.
    Elsewhere(&'static str),
    /// Left out, and why.
    Left(&'static str),
}

use Case::{Elsewhere, Left, Shown};

const CASES: &[(&str, Case)] = &[
    ("A1", Shown(credentials::environment_against_config)),
    ("A2", Shown(credentials::token_in_a_unit)),
    ("A3", Shown(credentials::unknown_device_token)),
    ("A4", Shown(credentials::environment_against_config)),
    ("A5", Shown(credentials::environment_against_config)),
    ("A6", Shown(credentials::unknown_device_token)),
    ("A7", Shown(credentials::either_token_in_either_field)),
    ("A8", Shown(devices::rotated_by_another)),
    ("A10", Shown(credentials::lost_device_token)),
    ("A11", Shown(credentials::fingerprints_tell_two_tokens_apart)),
    ("A12", Shown(credentials::file_changed_since)),
    ("A13", Shown(life::second_start)),
    ("A14", Shown(credentials::missing_is_not_mismatch)),
    ("A15", Shown(requests::restart_then_silent_upgrade)),
    ("A16", Shown(requests::backend_without_device)),
    ("A17", Shown(requests::first_pairing_pins_nothing)),
    ("A18", Shown(requests::backend_without_device)),
    ("A19", Shown(requests::wider_keeps_what_it_has)),
    ("A20", Shown(requests::own_upgrade)),
    ("A21", Shown(requests::request_id_is_stable)),
    ("A22", Shown(requests::strongest_proof_decides)),
    ("A23", Shown(proof::clocks)),
    ("A24", Shown(proof::clocks)),
    ("A25", Shown(proof::nonces)),
    ("A26", Shown(proof::nonces)),
    ("A27", Shown(proof::device_id)),
    ("A28", Shown(proof::control_ui_over_http)),
    ("A29", Shown(proof::control_ui_without_device)),
    ("A30", Shown(broken::store_cut_short)),
    ("A31", Shown(broken::store_unreadable)),
    ("A33", Shown(life::reconnects_write_nothing)),
    ("A34", Shown(broken::unknown_keys)),
    ("A35", Shown(broken::unknown_keys)),
    ("A36", Shown(broken::half_a_config)),
    ("A37", Left("auth mode trusted-proxy is not in this version; it fails closed and says so")),
    ("A38", Shown(proof::switches_are_named)),
    ("A39", Shown(credentials::which_gateway_answers)),
    ("A40", Shown(credentials::guesses_lock_no_device)),
    ("A41", Shown(credentials::a_stale_tab_counts_once)),
    ("A42", Shown(credentials::knocking_does_not_lengthen)),
    ("A43", Shown(requests::forwarded_is_not_local)),
    ("A44", Shown(requests::admin_implies_read)),
    ("A45", Shown(devices::narrow_connect_narrows_nothing)),
    ("A46", Shown(requests::implied_is_no_upgrade)),
    ("A47", Shown(proof::origins)),
    ("A50", Shown(writes::only_what_was_asked)),
    ("A51", Shown(life::killed_and_started)),
    ("A52", Shown(life::second_start)),
    ("A53", Shown(requests::approve_on_the_host)),
    ("A55", Shown(nodes::silent_pairing_is_durable)),
    ("A56", Shown(life::refusals_end_nothing)),
    ("A57", Shown(nodes::more_commands_wait)),
    ("A58", Shown(broken::secret_references)),
    ("A59", Shown(credentials::device_token_alone)),
    ("A60", Shown(credentials::key_alone)),
    ("A61", Shown(proof::protocol_versions)),
    ("A62", Shown(credentials::either_token_in_either_field)),
    ("A64", Shown(credentials::phrase_is_kept_for_device_tokens)),
    ("A65", Shown(broken::auth_block_dropped)),
    ("A66", Shown(broken::token_made_once)),
    ("A67", Shown(proof::display_data_changes)),
    ("A69", Shown(life::slow_clients)),
    ("A70", Shown(life::connecting_over_a_restart)),
    ("A71", Elsewhere("tests/restart.rs")),
    ("A72", Shown(devices::answers_before_consequences)),
    ("A73", Shown(devices::browser_after_a_new_shared_token)),
    ("A74", Shown(proof::signed_tokens)),
    ("A75", Shown(requests::backend_without_device)),
    ("A76", Elsewhere("tests/reload")),
    ("A79", Elsewhere("tests/clock.rs")),
    ("A80", Shown(life::no_network)),
    ("A81", Shown(requests::setup_codes)),
    ("A82", Shown(nodes::without_credential)),
    ("A83", Shown(broken::old_names)),
    ("A84", Shown(broken::bind_without_auth)),
    ("A85", Shown(life::lan_keeps_loopback)),
    ("A86", Shown(life::own_address_is_local)),
    ("A87", Shown(proof::payload_versions)),
    ("A88", Shown(proof::signed_tokens)),
    ("A89", Shown(requests::request_id_is_stable)),
    ("A90", Shown(nodes::requests_outlive_restarts)),
    ("A91", Shown(requests::behind_serve)),
    ("A92", Shown(devices::killed_after_a_rotation)),
    ("A93", Shown(broken::edits_while_running)),
    ("A94", Shown(writes::a_device_that_changes_the_token_stays)),
    ("A95", Shown(broken::auth_block_dropped)),
    ("A97", Shown(broken::read_only_state)),
    ("A98", Shown(proof::unknown_names)),
    ("A99", Shown(requests::approve_on_the_host)),
    ("A100", Shown(nodes::silent_pairing_is_durable)),
    ("A101", Shown(requests::wider_keeps_what_it_has)),
    ("A102", Shown(devices::two_writers)),
    ("A103", Elsewhere("tests/store_faults.rs, tests/import.rs")),
    ("A105", Shown(broken::unknown_keys)),
    ("A106", Shown(credentials::retry_with_the_device_token)),
    ("A107", Shown(devices::approval_keeps_the_token)),
    ("A108", Shown(life::connecting_over_a_restart)),
    ("A109", Shown(life::refusals_end_nothing)),
    ("A110", Shown(life::own_address_is_local)),
    ("A111", Shown(requests::wider_keeps_what_it_has)),
    ("A112", Shown(devices::removed_may_ask_again)),
    ("A113", Shown(nodes::more_commands_wait)),
    ("A114", Shown(devices::unknown_device_with_a_token)),
    ("A115", Shown(life::slow_readers_and_large_frames)),
    ("A117", Shown(life::a_slow_disk_holds_nobody_up)),
    ("A120", Shown(credentials::environment_against_config)),
    ("A122", Shown(devices::browser_after_a_new_shared_token)),
    ("A124", Left("there are no migrations that could fail")),
    ("A125", Shown(broken::half_a_config)),
    ("A101b", Shown(requests::wider_keeps_what_it_has)),
    ("A126", Elsewhere("tests/peers/erase.test.mjs")),
    ("A127", Elsewhere("tests/peers/erase.test.mjs")),
    ("A128", Shown(credentials::phrase_is_kept_for_device_tokens)),
    ("A129", Shown(credentials::guesses_lock_no_device)),
    ("A130", Shown(proof::clocks)),
    ("A131", Shown(proof::signed_tokens)),
    ("A132", Shown(devices::narrow_connect_narrows_nothing)),
];

#[test]
fn field_cases() {
    let mut functions: Vec<(&str, fn())> = Vec::new();
    let cases = || CASES.iter().chain(board::CASES);
    for (id, case) in cases() {
        if let Shown(f) = case
            && !functions.iter().any(|(_, g)| std::ptr::fn_addr_eq(*g, *f))
        {
            functions.push((id, *f));
        }
    }
    // Beside the rows, what they made us look at.
    functions.push(("guesses", credentials::a_paired_device_does_not_guess_for_free));
    functions.push(("revoked", life::revoked_while_it_connects));
    functions.push(("narrowed", devices::narrowed_by_an_operator));
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((id, f)) = functions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(f).is_err() {
                        failed.lock().unwrap().push(*id);
                    }
                }
            });
        }
    });
    let mut shown = 0;
    for (id, case) in cases() {
        match case {
            Shown(_) => shown += 1,
            Elsewhere(suite) => {
                shown += 1;
                let files = suite.split([' ', ',', ':', ';']).filter(|word| word.contains('/'));
                files.for_each(|file| assert!(Path::new(file).exists(), "{id}: there is no {file}"));
                println!("{id}: in {suite}");
            }
            Left(why) => println!("{id}: left out: {why}"),
        }
    }
    let mut ids: Vec<&str> = cases().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|two| two[0] != two[1]), "a case stands twice");
    println!("field cases: {shown} of {} shown", cases().count());
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "failed, by the first row that each stands for: {failed:?}");
}

//! Field cases: what went wrong for others, by the ids of the collection of public reports, and what must
//! hold here.
//!
//! A case is a test whose name begins with its id; several that one test shows are all in its name. To run
//! the one of A21: `cargo test --test attach a21_`. The others are listed here.

mod board;
mod broken_files;
mod config_writes;
mod connections;
mod credentials;
mod device_proof;
mod devices;
mod nodes;
mod pairing;

use std::{collections::BTreeMap, fs, path::Path};

/// The ids of the collection.
const IDS: &str = "
A1 A2 A3 A4 A5 A6 A7 A8 A10 A11 A12 A13 A14 A15 A16 A17 A18 A19 A20 A21 A22 A23 A24 A25 A26 A27 A28 A29 A30
A31 A33 A34 A35 A36 A37 A38 A39 A40 A41 A42 A43 A44 A45 A46 A47 A50 A51 A52 A53 A55 A56 A57 A58 A59 A60 A61
A62 A64 A65 A66 A67 A69 A70 A71 A72 A73 A74 A75 A76 A79 A80 A81 A82 A83 A84 A85 A86 A87 A88 A89 A90 A91 A92
A93 A94 A95 A97 A98 A99 A100 A101 A101b A102 A103 A105 A106 A107 A108 A109 A110 A111 A112 A113 A114 A115 A117
A120 A122 A124 A125 A126 A127 A128 A129 A130 A131 A132
B1 B2 B3 B4 B5 B6 B8 B9 B10 B11 B13 B14 B15 B17 B18 B19 B20 B21 B22 B23 B24 B25 B26 B27 B28 B29 B30 B55 B56
B58 B61 B63 B64 B65 B66 B67 B68 B69 B70 B71 B72 B73 B74 B77 B78 B79 B80 B81 B82 B83 B84 B85 B86 B87 B88 B89
B90 B91 B92 B94 B95 B97 B101 B102 B103 B104 B105 B106 B109 B111 B112 B113 B114 B115 B116 B117 B118 B119 B120
B121 B122 B123 B129 B130 B131 B132 B133 B134 B135 B136 B137 B138 B139 B142 B143 B145 B146 B147 B149 B151 B153
B154 B155 B156
";

/// Cases that other files test: each file, and the test in it. Outside of Rust that is a piece of its text.
const ELSEWHERE: &[(&str, &[(&str, &str)])] = &[
    ("A71", &[("tests/restart/under_load.rs", "nobody_sees_a_hundred_restarts_under_load")]),
    ("A76", &[("tests/config/reload/files.rs", "a_file_reference_is_watched")]),
    ("A79", &[("tests/attach/clock.rs", "clock_jumps_close_no_connection")]),
    (
        "A103",
        &[
            ("tests/store/failures.rs", "a_file_from_a_newer_version_is_refused_and_left_alone"),
            ("tests/cli/import.rs", "an_import_is_listed_before_it_is_done"),
        ],
    ),
    ("A126", &[("tests/peers/erase.test.mjs", "describe('the any rule: a paired device is never refused'")]),
    ("A127", &[("tests/peers/erase.test.mjs", "test('keeps its token while the gateway stops'")]),
    ("B1", &[("tests/restart/under_load.rs", "nobody_sees_a_hundred_restarts_under_load")]),
    ("B6", &[("tests/service/sd_notify.rs", "a_restart_is_notified")]),
    ("B8", &[("tests/run", "boards() {"), ("cross/check.sh", "needs other files to run")]),
    (
        "B9",
        &[
            ("tests/service/installer.rs", "each_processor_gets_its_own_binary"),
            ("cross/check.sh", "is not for v6"),
        ],
    ),
    (
        "B10",
        &[
            ("tests/service/installer.rs", "a_failed_installation_changes_nothing"),
            ("tests/deploy/main.rs", "fetched_by_the_board"),
        ],
    ),
    (
        "B11",
        &[
            ("tests/config/lint.rs", "unknown_keys_get_a_hint"),
            ("tests/config/reload/edits.rs", "sixty_edits_close_only_whom_the_plan_names"),
        ],
    ),
    (
        "B13",
        &[
            ("tests/config/reload/edits.rs", "sixty_edits_close_only_whom_the_plan_names"),
            ("tests/config/write.rs", "only_the_value_changes"),
        ],
    ),
    ("B17", &[("tests/config/shared_secret.rs", "references")]),
    ("B18", &[("tests/config/write_failures.rs", "a_mounted_file_is_written_in_place")]),
    ("B19", &[("tests/service/systemd.rs", "a_user_unit_is_installed_runs_and_is_taken_away")]),
    (
        "B20",
        &[
            ("tests/service/units.rs", "units_say_which_gateway_is_meant_and_hold_no_secret"),
            ("tests/cli/doctor.rs", "conflicting_tokens_and_unused_variables"),
        ],
    ),
    (
        "B21",
        &[
            ("tests/config/shared_secret.rs", "dotenv_as_node_reads_it"),
            ("tests/config/shared_secret.rs", "gateway_env_comes_after_dotenv"),
        ],
    ),
    ("B22", &[("tests/service/systemd.rs", "foreign_units_are_kept_and_backups_hold_no_secret")]),
    ("B23", &[("tests/service/systemd.rs", "foreign_units_are_kept_and_backups_hold_no_secret")]),
    (
        "B24",
        &[
            ("tests/service/systemd.rs", "a_permanent_failure_is_not_restarted"),
            ("tests/cli/doctor.rs", "a_port_that_is_held_names_who_holds_it"),
            ("tests/restart/under_load.rs", "nobody_sees_a_hundred_restarts_under_load"),
        ],
    ),
    ("B25", &[("tests/restart/config.rs", "mode_restart_restarts_once")]),
    (
        "B30",
        &[("tests/run", "for board in virt raspi3b pi5; do"), ("cross/check.sh", "a segment is aligned to")],
    ),
    (
        "B61",
        &[
            ("tests/config/write_failures.rs", "a_file_of_another_owner_is_named"),
            ("tests/cli/doctor.rs", "permissions_are_reported_and_fixed"),
            ("tests/config/reload/files.rs", "an_unreadable_file_changes_nothing_and_is_reported"),
        ],
    ),
    ("B63", &[("tests/cli/doctor.rs", "volatile_full_and_read_only_disks")]),
    ("B64", &[("tests/attach/clock.rs", "clock_jumps_close_no_connection")]),
    ("B67", &[("tests/config/reload/files.rs", "without_inotify_the_files_are_polled")]),
    ("B68", &[("tests/config/reload/files.rs", "a_directory_full_of_other_files_costs_nothing")]),
    ("B69", &[("tests/attach/listeners.rs", "a_port_that_is_about_to_be_free_is_waited_for")]),
    ("B73", &[("tests/deploy/main.rs", "fetched_by_the_board")]),
    ("B78", &[("tests/upgrade/main.rs", "one_that_crashes_at_once")]),
    ("B82", &[("tests/package/main.rs", "upgraded_and_rolled_back_unseen")]),
    ("B83", &[("tests/service/installer.rs", "an_incomplete_release_is_refused")]),
    (
        "B85",
        &[("tests/service/units.rs", "without_systemd_the_init_that_is_there_is_named_and_its_example_runs")],
    ),
    (
        "B86",
        &[
            ("tests/attach/listeners.rs", "a_port_in_use_changes_nothing"),
            ("tests/cli/doctor.rs", "a_port_that_is_held_names_who_holds_it"),
        ],
    ),
    ("B87", &[("tests/service/systemd.rs", "a_user_unit_is_installed_runs_and_is_taken_away")]),
    ("B88", &[("tests/config/reload/files.rs", "every_way_to_save_a_file_is_seen_once")]),
    ("B89", &[("tests/config/reload/files.rs", "included_files_are_watched_as_they_come_and_go")]),
    (
        "B91",
        &[
            ("tests/config/include.rs", "failed_includes_are_reported_at_their_line"),
            ("tests/config/reload/files.rs", "included_files_are_watched_as_they_come_and_go"),
        ],
    ),
    ("B92", &[("tests/config/lint.rs", "unset_variables")]),
    (
        "B94",
        &[
            ("tests/service/units.rs", "units_say_which_gateway_is_meant_and_hold_no_secret"),
            ("tests/cli/doctor.rs", "conflicting_tokens_and_unused_variables"),
        ],
    ),
    ("B97", &[("tests/config/lint.rs", "lists_that_became_empty")]),
    ("B103", &[("tests/store/full_disk.rs", "full_and_read_only_disks")]),
    (
        "B104",
        &[
            ("tests/config/power_cut.rs", "killed_at_every_call_the_file_is_whole"),
            ("tests/config/write_failures.rs", "temporary_files_of_a_killed_writer_are_removed"),
        ],
    ),
    ("B109", &[("benches/footprint.rs", "idle, resident")]),
    ("B111", &[("tests/service/systemd.rs", "a_stop_tells_every_client")]),
    ("B116", &[("tests/config/reload/edits.rs", "sixty_edits_close_only_whom_the_plan_names")]),
    (
        "B117",
        &[
            ("tests/config/reload/files.rs", "off_keeps_changes_for_the_next_start"),
            ("tests/config/reload/edits.rs", "sixty_edits_close_only_whom_the_plan_names"),
            ("tests/restart/config.rs", "mode_restart_restarts_once"),
        ],
    ),
    ("B118", &[("tests/attach/clock.rs", "clock_jumps_close_no_connection")]),
    ("B119", &[("tests/config/reload/files.rs", "an_unreadable_file_changes_nothing_and_is_reported")]),
    ("B120", &[("tests/service/systemd.rs", "a_user_unit_is_installed_runs_and_is_taken_away")]),
    (
        "B122",
        &[
            ("tests/attach/first_boot.rs", "the_port_is_open_before_there_are_random_numbers"),
            ("tests/run", "[raspi3b]=\"steps.clock steps.random\""),
        ],
    ),
    ("B129", &[("tests/service/systemd.rs", "without_a_bus_it_is_installed_for_the_next_login")]),
    ("B130", &[("tests/deploy/main.rs", "fetched_by_the_board")]),
    (
        "B132",
        &[
            ("tests/service/installer.rs", "an_incomplete_release_is_refused"),
            ("tests/deploy/main.rs", "fetched_by_the_board"),
        ],
    ),
    (
        "B133",
        &[
            ("tests/service/installer.rs", "a_failed_installation_changes_nothing"),
            ("tests/deploy/main.rs", "fetched_by_the_board"),
        ],
    ),
    ("B134", &[("tests/deploy/main.rs", "fetched_by_the_board")]),
    ("B135", &[("tests/config/file.rs", "defaults_are_openclaws")]),
    (
        "B137",
        &[
            ("tests/config/file.rs", "wrong_values_are_ignored_or_fail_closed"),
            ("tests/config/file.rs", "a_section_of_the_wrong_type_fails_closed"),
        ],
    ),
    ("B138", &[("tests/config/lint.rs", "moved_keys_are_named")]),
    (
        "B142",
        &[
            ("tests/service/systemd.rs", "a_restart_by_systemd_and_the_watchdog"),
            ("tests/service/sd_notify.rs", "the_watchdog_is_fed_if_it_is_this_process_that_is_watched"),
        ],
    ),
    (
        "B143",
        &[
            ("tests/service/systemd.rs", "status_names_drift_and_its_fix"),
            ("tests/service/systemd.rs", "a_permanent_failure_is_not_restarted"),
        ],
    ),
    (
        "B149",
        &[
            ("tests/config/write_failures.rs", "concurrent_writers_lose_nothing"),
            ("tests/peers/config.test.mjs", "test('CLI and RPC at once lose nothing of each other'"),
        ],
    ),
    (
        "B153",
        &[
            ("tests/service/systemd.rs", "a_user_unit_is_installed_runs_and_is_taken_away"),
            ("tests/cli/doctor.rs", "volatile_full_and_read_only_disks"),
        ],
    ),
    (
        "B156",
        &[
            ("tests/config/write_failures.rs", "a_read_only_file_stays_one"),
            ("tests/cli/doctor.rs", "permissions_are_reported_and_fixed"),
        ],
    ),
];

/// Cases that nothing tests, and the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("A37", "auth mode trusted-proxy is not in this version; it fails closed and says so"),
    ("A124", "there are no migrations that could fail"),
    ("B2", "needs a board of 512 MiB with the Node CLI beside it; the figures are in the readme"),
    ("B56", "there are no sessions in this version"),
    ("B74", "no image for ARM has been run; the binary runs where there is no C library: tests/run boards"),
    ("B79", "what Barnacle writes is in a folder of its own; going back and forth is in tests/cli/import.rs"),
    ("B81", "no 32-bit board is emulated in CI; by hand: cross/smoke.sh armv6 armv7"),
    ("B84", "nothing goes out in this version"),
    ("B121", "nothing goes out in this version"),
    ("B123", "no 32-bit board is emulated in CI; by hand: cross/smoke.sh armv6 armv7"),
    ("B145", "needs the boards; pi5, raspi3b and virt are emulated with 64 MB: tests/run boards"),
    ("B154", "there are no sessions in this version, and nothing of OpenClaw's is written"),
];

/// The text of a file of the repository.
fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The names of the tests in a Rust file: functions marked as such, and rows of a program without harness.
/// Ignored ones are not tests.
fn tests_in(text: &str) -> Vec<&str> {
    let marked = text.split("#[test]\n").skip(1).filter_map(|block| {
        let line = block.lines().next()?.trim_start();
        line.strip_prefix("fn ")?.split_once('(').map(|(name, _)| name)
    });
    let rows = text.split("(\"").skip(1).filter_map(|row| {
        let (name, rest) = row.split_once("\", ")?;
        (rest.starts_with("||") || rest.starts_with(name)).then_some(name)
    });
    marked.chain(rows).collect()
}

/// The ids that a test's name begins with: A24 and A130 for `a24_a130_clocks`.
fn ids_of(test: &str) -> Vec<String> {
    let is_id = |word: &&str| {
        let number = word.strip_prefix(['a', 'b', 'h']).unwrap_or_default();
        number.starts_with(|c: char| c.is_ascii_digit())
    };
    test.split('_').take_while(is_id).map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[test]
fn every_case_is_tested_or_left_out_for_a_reason() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attach/field_cases");
    let files = fs::read_dir(here).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let tested: Vec<String> =
        files.flat_map(|text| tests_in(&text).into_iter().flat_map(ids_of).collect::<Vec<_>>()).collect();
    for (id, places) in ELSEWHERE {
        assert!(!places.is_empty(), "{id} is tested nowhere");
        for (file, test) in *places {
            let text = read(file);
            let found = if file.ends_with(".rs") && file.starts_with("tests/") {
                tests_in(&text).contains(test)
            } else {
                text.contains(test)
            };
            assert!(found, "{id}: {file} has no {test}");
        }
    }
    let elsewhere = ELSEWHERE.iter().map(|(id, _)| id.to_string());
    let left_out = LEFT_OUT.iter().map(|(id, reason)| {
        assert!(!reason.is_empty(), "{id} is left out without a reason");
        id.to_string()
    });
    let mut places: BTreeMap<String, usize> = IDS.split_whitespace().map(|id| (id.into(), 0)).collect();
    for id in tested.into_iter().chain(elsewhere).chain(left_out) {
        *places.get_mut(&id).unwrap_or_else(|| panic!("the collection has no {id}")) += 1;
    }
    let wrong: Vec<_> = places.iter().filter(|(_, count)| **count != 1).collect();
    assert!(wrong.is_empty(), "not in exactly one place: {wrong:?}");
    println!("{} cases, {} of them left out", places.len(), LEFT_OUT.len());
}

/// Every row of docs/hardening.md has a test of its id, or says that it is open or has none.
#[test]
fn every_hardening_case_is_tested_or_says_why_not() {
    /// H40 is what the test of H26 shows, H44 and H46 are decided by tables in `keepalive` and `budget`, H45 is in H11's
    /// test, H47 in H3's, H48 in every test client.
    const SHOWN_ELSEWHERE: [&str; 6] = ["H40", "H44", "H45", "H46", "H47", "H48"];
    let mut tested = Vec::new();
    for room in ["attach", "cli", "config", "http", "restart"] {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(room);
        for entry in fs::read_dir(here).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            tested.extend(tests_in(&text).into_iter().flat_map(ids_of));
        }
    }
    let page = read("docs/hardening.md");
    let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| H")?.split_once(" | ")).collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    for (ids, rest) in rows {
        for id in format!("H{ids}").split(", ") {
            let shown = tested.iter().any(|t| t == id) || SHOWN_ELSEWHERE.contains(&id);
            assert!(shown || rest.contains("*open:*"), "{id} has no test");
        }
    }
}

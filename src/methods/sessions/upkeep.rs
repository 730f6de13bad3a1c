//! Sessions are tidied, at the start and every hour from then on: `session.maintenance`.

use super::publish_changed;
use crate::{
    app::App,
    clock::wall_ms,
    protocol::ErrorShape,
    reactor::{Timer, on_worker},
    sessions::{
        Row, SessionKey,
        upkeep::{MANY, Tidied, tidy},
    },
};
use std::{rc::Rc, time::Duration};

const BETWEEN: Duration = Duration::from_secs(3600);
/// Sessions of one change.
const AT_ONCE: usize = 100;

/// Tidies for as long as the gateway runs.
pub(crate) async fn keep_tidy(app: Rc<App>) {
    loop {
        if let Err(e) = once(&app).await {
            log::warn!("sessions are not tidied: {}", e.message());
        }
        Timer::after(BETWEEN).await;
    }
}

async fn once(app: &Rc<App>) -> Result<(), ErrorShape> {
    // While there are none, there is nothing to read.
    if !app.sessions.path().exists() {
        return Ok(());
    }
    app.sessions.ready().await?;
    let settings = app.settings();
    let (upkeep, now) = (settings.config.upkeep, wall_ms());
    let busy = |key: &SessionKey| !app.runs.of(key).is_empty();
    let tidied = app
        .sessions
        .index()
        .map_or(Vec::new(), |index| tidy(|| index.all(), &upkeep, &settings.config.agents, now, busy));
    let count = |what: &[Tidied]| tidied.iter().filter(|(_, fate)| what.contains(fate)).count();
    let (archived, removed) = (count(&[Tidied::Old, Tidied::Many]), count(&[Tidied::Removed]));
    if !tidied.is_empty() {
        let would = if upkeep.enforced { "" } else { "would have " };
        log::info!(
            "sessions: {would}archived {archived} and removed {removed}, as session.maintenance has it"
        );
    }
    if upkeep.enforced {
        for some in tidied.chunks(AT_ONCE) {
            put_away(app, some, now).await?;
        }
    }
    spare_disk(app).await
}

async fn put_away(app: &Rc<App>, some: &[(SessionKey, Tidied)], now: u64) -> Result<(), ErrorShape> {
    app.sessions
        .change(|draft| {
            for (key, fate) in some {
                let Some(mut row) = draft.get(key).filter(|row| row.get("openRuns").is_none()) else {
                    continue;
                };
                if *fate == Tidied::Removed {
                    draft.remove(key, row.id, true);
                    continue;
                }
                row.set("archivedAt", Some(&now.to_string()));
                row.set("archiveReason", Some(fate.reason()));
                draft.put(key, row);
            }
            Ok(())
        })
        .await?;
    some.iter().for_each(|(key, _)| publish_changed(app, key, "maintenance"));
    Ok(())
}

/// Removes what was archived because there were too many, the oldest first, while an agent's transcripts take too much.
async fn spare_disk(app: &Rc<App>) -> Result<(), ErrorShape> {
    let upkeep = app.settings().config.upkeep;
    let Some(most) = upkeep.bytes else { return Ok(()) };
    let folder = app.sessions.path().with_file_name("");
    let agents = app.settings().config.agents.ids.clone();
    for agent in agents {
        let path = folder.join(&agent).join("sessions");
        let mut bytes = on_worker(move || bytes_in(&path)).await;
        if bytes <= most {
            continue;
        }
        log::warn!(
            "sessions: the transcripts of agent {agent} take {bytes} bytes; session.maintenance.maxDiskBytes is {most}"
        );
        if !upkeep.enforced {
            continue;
        }
        let mut archived: Vec<(SessionKey, Row)> = app.sessions.index().map_or(Vec::new(), |index| {
            let may = |(key, row): &(SessionKey, Row)| {
                key.agent() == agent
                    && row.get("archivedAt").is_some()
                    && row.get("archiveReason") == Some(MANY)
            };
            index.having("archiveReason", None).filter(may).collect()
        });
        archived.sort_by_key(|(_, row)| row.times.updated);
        for (key, row) in archived {
            // Down to four fifths, so that it is not at its limit again at once.
            if bytes <= most / 5 * 4 {
                break;
            }
            let path = folder.join(&agent).join("sessions").join(format!("{}.jsonl", row.id));
            bytes -= on_worker(move || path.metadata().map_or(0, |meta| meta.len())).await.min(bytes);
            let id = row.id;
            let removed = app.sessions.change(|draft| {
                draft.remove(&key, id, true);
                Ok(())
            });
            removed.await?;
            log::info!("sessions: removed {}, archived as one of too many, to spare the disk", key.wire());
            publish_changed(app, &key, "delete");
        }
    }
    Ok(())
}

fn bytes_in(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

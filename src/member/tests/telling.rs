//! What people are told: once, and truly.

use std::time::Duration;

use super::cluster::Cluster;
use crate::member::io::CoreNote;

/// Notes of this node about what is agreed, oldest first.
fn agreed(cluster: &Cluster, node: usize) -> Vec<&CoreNote> {
    let notes = cluster.notes.iter().filter(|(_, at, _)| *at == node);
    notes
        .map(|(_, _, note)| note)
        .filter(|note| {
            !matches!(
                note,
                CoreNote::Leader { .. } | CoreNote::Suspicion { .. } | CoreNote::Void { .. }
            )
        })
        .collect()
}

#[test]
fn what_an_earlier_run_has_told_is_not_told_again() {
    let mut cluster = Cluster::serving(3, 2, 1);
    cluster.run(Duration::from_millis(200));
    let before = cluster.notes.len();
    let created = |note: &&CoreNote| matches!(note, CoreNote::Created { .. });
    let views = |note: &&CoreNote| matches!(note, CoreNote::View(_));
    assert_eq!(agreed(&cluster, 2).into_iter().filter(created).count(), 1);
    assert!(agreed(&cluster, 2).into_iter().any(|note| views(&note)));

    cluster.kill(2);
    cluster.start(2);
    let whole = cluster.run_until(Duration::from_secs(2), |c| {
        c.view(2).number > 0 && c.status(2).committed == c.status(0).committed
    });
    assert!(whole);
    cluster.run(Duration::from_millis(200));
    let news = cluster.notes.split_off(before);
    cluster.notes = news;
    let told = agreed(&cluster, 2);
    assert!(!told.iter().any(created), "{told:?}");
    // It has left, perhaps, and it is in again.
    assert!(!told.is_empty() && told.len() <= 4, "{told:?}");
    assert_eq!(told.len(), agreed(&cluster, 0).len(), "{told:?}");
    // With everybody restarted nothing old is told by anybody.
    let before = cluster.notes.len();
    (0..3).for_each(|node| cluster.kill(node));
    (0..3).for_each(|node| cluster.start(node));
    cluster.run(Duration::from_millis(500));
    let news = cluster.notes.split_off(before);
    assert!(news.len() > 3);
    let old = news.iter().find(|(_, _, note)| created(&note));
    assert_eq!(old, None);
}

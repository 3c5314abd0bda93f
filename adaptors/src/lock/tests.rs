//! The lock with several owners in one process, which stand for several workers.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

const QUICK: Pace = Pace {
    refresh: Duration::from_millis(20),
    stale: Duration::from_secs(60),
    retry: Duration::from_millis(5),
    patience: Duration::from_secs(30),
};

#[tokio::test]
async fn only_one_holds_the_lock_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("@openfn/a_1.0.0.lock");
    let inside = Rc::new(Cell::new(0));
    let holders = (0..5).map(|_| {
        let (target, inside) = (target.clone(), Rc::clone(&inside));
        async move {
            let lock = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
            inside.set(inside.get() + 1);
            assert_eq!(inside.get(), 1);
            tokio::task::yield_now().await;
            assert_eq!(inside.get(), 1);
            inside.set(0);
            drop(lock);
        }
    });
    futures_util::future::join_all(holders).await;
    assert!(!home.path().join("@openfn/a_1.0.0.lock.lock").exists());
}

#[tokio::test]
async fn the_lock_of_a_dead_owner_is_taken_over() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("a.lock");
    let folder = home.path().join("a.lock.lock");
    fs::create_dir(&folder).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(120);
    File::open(&folder).unwrap().set_modified(long_ago).unwrap();
    let lock = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
    assert!(!is_stale(&folder, Duration::from_secs(60)));
    drop(lock);
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        1,
        "only the target is left"
    );
}

/// What a worker leaves that is killed with the lock in its hands: the kernel takes back only its own lock.
fn abandon(lock: FolderLock) {
    lock.refreshing.abort();
    let mut lock = std::mem::ManuallyDrop::new(lock);
    drop(lock.life.take());
}

#[tokio::test]
async fn the_lock_of_a_killed_worker_on_this_machine_is_taken_over_at_once() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("a.lock");
    for _ in 0..3 {
        abandon(FolderLock::acquire(&target, "a", QUICK).await.unwrap());
    }
    let _held = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
}

#[tokio::test]
async fn the_fresh_lock_of_an_owner_that_gives_no_sign_of_life_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("a.lock");
    let impatient = Pace {
        patience: Duration::ZERO,
        ..QUICK
    };
    // An owner of ours before it, whose folder may have had the same inode.
    drop(FolderLock::acquire(&target, "a", QUICK).await.unwrap());
    fs::create_dir(home.path().join("a.lock.lock")).unwrap();
    assert!(FolderLock::acquire(&target, "a", impatient).await.is_err());
}

#[tokio::test]
async fn whoever_waits_too_long_is_told_for_what() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("a.lock");
    let _held = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
    let impatient = Pace {
        patience: Duration::ZERO,
        ..QUICK
    };
    let failure = FolderLock::acquire(&target, "a", impatient)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        failure.starts_with("Lock acquisition timed out after 0s waiting for a; another worker"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_held_lock_is_kept_fresh() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("a.lock");
    let folder = home.path().join("a.lock.lock");
    let _held = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::open(&folder).unwrap().set_modified(long_ago).unwrap();
    let fresh = async {
        while is_stale(&folder, Duration::from_secs(60)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), fresh)
        .await
        .expect("the owner touches its lock");
}

#[tokio::test]
async fn a_lock_that_was_taken_over_is_left_to_its_new_owner() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("a.lock");
    let folder = home.path().join("a.lock.lock");
    let lost = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
    fs::rename(&folder, home.path().join("aside")).unwrap();
    let held = FolderLock::acquire(&target, "a", QUICK).await.unwrap();
    drop(lost);
    assert!(folder.exists());
    drop(held);
    assert!(!folder.exists());
}

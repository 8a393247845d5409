//! Leader election, the guard around, cancelling, and one client for one URL.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use locks::testing::TestBackend;
use locks::{CancelToken, ErrorKind, LostCause, lock};

const STUCK: Duration = Duration::from_secs(40);

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn one_leads_until_it_resigns() {
    let backend = TestBackend::new();
    let election = locks::elect("scheduler").on(backend.backend());
    let first = election.lead().unwrap();
    assert!(election.try_lead().unwrap().is_none());
    first.check().unwrap();
    let mut second = pin!(election.lead_async());
    assert!(poll(second.as_mut()).is_pending());
    first.resign().unwrap();
    let Poll::Ready(second) = poll(second.as_mut()) else { panic!("its turn") };
    assert!(second.unwrap().token() > backend.backend().named("other").acquire().unwrap().token());
}

/// One that does not look is stuck; one that does is not.
#[test]
fn c6_a_leader_that_looks_stays_and_one_that_hangs_is_followed() {
    let backend = TestBackend::new();
    let election = locks::elect("scheduler").on(backend.backend()).stuck_after(STUCK);
    let first = election.lead().unwrap();
    let token = first.token();
    for _ in 0..4 {
        backend.advance(STUCK * 3 / 4);
        first.check().unwrap();
        assert!(election.try_lead().unwrap().is_none(), "the first has looked");
    }
    let mut looks = pin!(first.lost());
    for _ in 0..4 {
        backend.advance(STUCK * 3 / 4);
        assert!(poll(looks.as_mut()).is_pending());
        assert!(election.try_lead().unwrap().is_none(), "the first has looked");
    }
    backend.advance(STUCK + Duration::from_secs(1));
    let second = election.try_lead().unwrap().expect("the first hangs");
    assert!(second.token() > token);
    let error = first.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen });
    let mut lost = pin!(first.lost());
    assert_eq!(poll(lost.as_mut()), Poll::Ready(LostCause::Stolen));
}

/// What a URL says of requests in general is not said of candidates, who stand until they are
/// elected.
#[test]
fn a_candidate_stands_also_where_others_do_not_wait() {
    let backend = locks::open("memory:?wait=false&namespace=elect_stands").unwrap();
    let election = locks::elect("scheduler").on(&backend);
    let first = election.lead().unwrap();
    let mut second = pin!(election.lead_async());
    assert!(poll(second.as_mut()).is_pending());
    assert!(election.try_lead().unwrap().is_none());
    drop(first);
    let Poll::Ready(Ok(_)) = poll(second.as_mut()) else { panic!("its turn") };
}

/// Nor does it tell without end that it is alive.
#[test]
fn c6_a_limit_of_nothing_makes_no_leader_hang() {
    let backend = TestBackend::new();
    let election = locks::elect("scheduler").on(backend.backend()).stuck_after(Duration::ZERO);
    let (tell, told) = channel();
    thread::spawn(move || {
        let leader = election.lead().unwrap();
        let is_pending = poll(pin!(leader.lost())).is_pending();
        tell.send(is_pending).unwrap();
    });
    assert!(told.recv_timeout(Duration::from_secs(30)).expect("it was polled"));
}

#[test]
fn run_starts_again_after_a_loss_and_ends_with_its_work() {
    let backend = TestBackend::new();
    let election = locks::elect("scheduler").on(backend.backend());
    let mut runs = 0;
    let mut run = pin!(election.run(|_| {
        runs += 1;
        let last = runs == 2;
        async move {
            if !last {
                std::future::pending::<()>().await;
            }
            runs
        }
    }));
    assert!(poll(run.as_mut()).is_pending());
    let token = backend.backend().list().unwrap()[0].holders[0].token.unwrap();
    assert!(backend.backend().evict("scheduler", token).block().unwrap());
    assert_eq!(poll(run.as_mut()).map(Result::unwrap), Poll::Ready(2));
    assert!(election.try_lead().unwrap().is_some(), "it has resigned");
}

#[lock("elect_around")]
async fn around() -> bool {
    let guard = locks::current_guard_async("elect_around").await.unwrap();
    let inner = guard.expect("the function has it");
    inner.check().unwrap();
    inner.refresh_async().await.unwrap();
    locks::current_guard_async("elect_elsewhere").await.unwrap().is_none()
}

#[test]
fn c9_what_an_async_function_calls_finds_its_guard() {
    assert_eq!(poll(pin!(around()).as_mut()), Poll::Ready(true));
    assert_eq!(
        poll(pin!(locks::current_guard_async("elect_around")).as_mut())
            .map(|found| found.unwrap().is_none()),
        Poll::Ready(true)
    );
}

/// Who looks whether the guard around still holds must not take a loss for a call from elsewhere.
fn a_lost_guard_is_not_taken_for_none(backend: &locks::Backend) {
    let victim = backend.named("around").acquire().unwrap();
    let thief = backend.named("around").wait(false).steal_after(Duration::ZERO);
    let thief = || thief.acquire().map(locks::Guard::into_owned);
    let stolen = thread::scope(|scope| scope.spawn(thief).join().unwrap()).unwrap();
    let error = backend.current_guard("around").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost { cause: LostCause::Stolen });
    drop(victim);
    assert!(backend.current_guard("around").unwrap().is_none(), "it has none any more");
    drop(stolen);
}

#[test]
fn c9_a_guard_that_is_lost_in_this_process_is_not_taken_for_none() {
    a_lost_guard_is_not_taken_for_none(&locks::Backend::new(locks::backend::Engine::new()));
}

#[cfg(feature = "net")]
#[test]
fn c9_a_guard_that_is_lost_at_a_server_is_not_taken_for_none() {
    let directory = std::env::temp_dir().join(format!("locks-lost-around-{}", std::process::id()));
    let backend = locks::open(&format!("net://{}", directory.display())).unwrap();
    a_lost_guard_is_not_taken_for_none(&backend);
    drop(backend);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn c5_a_blocked_thread_can_be_cancelled_and_leaves_nothing() {
    let backend = TestBackend::new();
    let lock = || backend.backend().named("k");
    let held = lock().acquire().unwrap();
    let cancel = CancelToken::new();
    let (tell, told) = channel();
    thread::scope(|scope| {
        scope.spawn(|| tell.send(lock().cancel_on(&cancel).acquire().map(drop)).unwrap());
        backend.until_waiting("k");
        cancel.cancel();
        let error = told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
    assert_eq!(backend.backend().list().unwrap()[0].waiters.len(), 0);
    drop(held);
    let error = lock().cancel_on(&cancel).acquire().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "for good, also where it is free");
    let token = CancelToken::new();
    let guard = lock().cancel_on(&token).acquire().unwrap();
    token.cancel();
    guard.check().unwrap();
    let mut waits = pin!(lock().cancel_on(&CancelToken::new()).acquire_async());
    assert!(poll(waits.as_mut()).is_pending());
    drop(guard);
    assert!(poll(waits.as_mut()).is_ready());
}

#[cfg(feature = "net")]
#[test]
fn one_url_is_one_client_while_a_handle_lives() {
    let directory = std::env::temp_dir().join(format!("locks-one-url-{}", std::process::id()));
    let url = format!("net://{}", directory.display());
    let (one, two) = (locks::open(&url).unwrap(), locks::open(&url).unwrap());
    let guard = one.named("k").acquire().unwrap();
    // One session: the thread is the same holder by either handle.
    assert!(two.current_guard("k").unwrap().is_some());
    let other = locks::open(&format!("{url}?label=other")).unwrap();
    assert!(other.current_guard("k").unwrap().is_none(), "another URL is another client");
    drop(guard);
    drop((one, two, other));
    std::fs::remove_dir_all(directory).unwrap();
}

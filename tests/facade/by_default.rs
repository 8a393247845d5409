//! Two backends of equal reach do not become the default of processes that run at the same time.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use locks::ErrorKind;
use locks_core::directory::DefaultMarker;

/// What a child is to do, and where.
const TASK: &str = "BY_DEFAULT_TASK";
const WHERE: &str = "BY_DEFAULT_WHERE";

/// How often a child of the storm has a default, one after the other.
const ROUNDS: u32 = 300;

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(env::temp_dir().join(format!("locks-by-default-{}-{number}", process::id())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that does a task of [`works`].
fn start(task: &str, directory: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["by_default::works", "--exact", "--nocapture", "--ignored"]);
    command.env(TASK, task).env(WHERE, directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Until the child says so.
fn until_it_has(child: &mut Child) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("has it")));
}

/// The process that [`start`] starts.
#[test]
#[ignore = "others start it"]
fn works() {
    let Ok(task) = env::var(TASK) else { return };
    let directory = PathBuf::from(env::var_os(WHERE).unwrap());
    match task.as_str() {
        "storm" => storm(&directory, |name| DefaultMarker::keep(&directory, name)),
        "storm without looking" => storm(&directory, |_| Ok(())),
        backend => {
            let _marker = DefaultMarker::keep(&directory, backend).unwrap();
            writeln!(std::io::stdout(), "has it").unwrap();
            let _ = std::io::stdin().read_line(&mut String::new());
        }
    }
}

/// Has one default after the other, and looks whether anybody has another meanwhile.
fn storm<T>(directory: &Path, keep: impl Fn(&'static str) -> Result<T, locks::LockError>) {
    let within = directory.join("holders");
    let (mut kept, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let (own, other) = match (process::id() + round) % 2 {
            0 => ("file:", "net:"),
            _ => ("net:", "file:"),
        };
        match keep(own) {
            Ok(marker) => {
                let mine = within.join(format!("{own}{}", process::id()));
                fs::write(&mine, "").unwrap();
                std::thread::yield_now();
                for name in fs::read_dir(&within).unwrap().map(|entry| entry.unwrap().file_name()) {
                    assert!(!name.to_string_lossy().starts_with(other), "{own} beside {name:?}");
                }
                fs::remove_file(&mine).unwrap();
                drop(marker);
                kept += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotConfigured, "{error}");
                refused += 1;
            }
        }
    }
    assert!(kept > 0, "it has none in {refused} rounds");
}

/// Whether all of four processes are content.
fn weather(task: &str) -> bool {
    let directory = Directory::new();
    fs::create_dir_all(directory.0.join("holders")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&directory.0, mode).unwrap();
    let children = (0..4).map(|_| start(task, &directory.0)).collect::<Vec<_>>();
    let outcomes = children.into_iter().map(|child| child.wait_with_output().unwrap());
    outcomes.map(|output| output.status.success()).fold(true, |all, this| all & this)
}

#[test]
fn whoever_is_first_decides_until_the_last_of_them_ends() {
    let directory = Directory::new();
    let mut first = start("file:", &directory.0);
    until_it_has(&mut first);
    assert_eq!(DefaultMarker::in_use(&directory.0).unwrap().as_deref(), Some("file:"));
    let error = DefaultMarker::keep(&directory.0, "net:").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConfigured);
    let text = error.to_string();
    for part in ["`file:`", "`net:`", "`LOCKS_URL`", "fuser"] {
        assert!(text.contains(part), "{text}");
    }
    let mut second = start("file:", &directory.0);
    until_it_has(&mut second);
    first.kill().unwrap();
    first.wait().unwrap();
    DefaultMarker::keep(&directory.0, "net:").unwrap_err();
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(DefaultMarker::in_use(&directory.0).unwrap(), None);
    let _now = DefaultMarker::keep(&directory.0, "net:").unwrap();
    DefaultMarker::keep(&directory.0, "file:").unwrap_err();
}

#[test]
fn processes_that_race_have_one_default_at_a_time() {
    assert!(weather("storm"));
}

/// The storm sees what it is there to see.
#[test]
fn negative_control_processes_that_do_not_look_have_two() {
    assert!(!weather("storm without looking"));
}

#[test]
fn a_marker_that_another_can_have_planted_is_refused() {
    let directory = Directory::new();
    fs::create_dir(&directory.0).unwrap();
    let set = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&directory.0, mode).unwrap();
    };
    set(0o777);
    let error = DefaultMarker::keep(&directory.0, "file:").unwrap_err();
    assert!(error.to_string().contains("others may write to it"), "{error}");
    set(0o700);
    let target = directory.0.join("target");
    std::os::unix::fs::symlink(&target, directory.0.join(".default")).unwrap();
    let error = DefaultMarker::keep(&directory.0, "file:").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!target.exists());
}

#[test]
fn looking_makes_nothing() {
    let directory = Directory::new();
    assert_eq!(DefaultMarker::in_use(&directory.0).unwrap(), None);
    assert!(!directory.0.exists());
}

//! Several processes and one directory (N3, FAULTS 14, 15, 23, 26).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::{env, fs, io};

use locks_core::ManualClock;

use super::scratch::Scratch;
use super::*;

/// What a child is to do, and where.
const ROLE: &str = "LOCKS_JOURNAL_TEST";

/// The test below in another process.
fn child(role: &str, scratch: &Scratch, through: &str) -> Child {
    let this = env::current_exe().unwrap();
    let run =
        format!("{through} exec \"$0\" --exact journal::tests::processes::child_end --nocapture");
    let mut command = Command::new("sh");
    command.arg("-c").arg(run).arg(this).env(ROLE, format!("{role} {}", scratch.0.display()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The first line of a child's that begins with `!`.
fn said(child: &mut Child) -> String {
    let (mut output, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    while !line.starts_with('!') {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it says something");
    }
    child.stdout = Some(output.into_inner());
    line[1..].trim_end().to_owned()
}

fn say(text: &str) {
    // Not `print!`, whose output belongs to the test.
    writeln!(io::stdout(), "\n!{text}").unwrap();
}

fn open(scratch: &Scratch) -> Result<(Store, Recovered), locks_core::LockError> {
    Store::open(&scratch.0, false, &ManualClock::new(), None)
}

#[test]
fn child_end() {
    let Ok(task) = env::var(ROLE) else { return };
    let (role, path) = task.split_once(' ').unwrap();
    let clock = ManualClock::new();
    match role {
        "serve" => {
            let (mut store, _) = Store::open(path.as_ref(), false, &clock, None).unwrap();
            store.append(&encode(&[session(1)])).unwrap();
            say("serving");
            let _ = io::stdin().read_line(&mut String::new());
        }
        "backup" => {
            let (_store, _) = Store::open(path.as_ref(), false, &clock, None).unwrap();
            // As what copies the files of its process does.
            fs::read(format!("{path}/server.lock")).unwrap();
            say("serving");
            let _ = io::stdin().read_line(&mut String::new());
        }
        "try" => match Store::open(path.as_ref(), false, &clock, None) {
            Ok(_) => say("opened"),
            Err(error) => say(&error.to_string()),
        },
        "fill" => {
            let (mut store, _) = Store::open(path.as_ref(), false, &clock, None).unwrap();
            let mut realm = 0;
            let error = loop {
                realm += 1;
                if let Err(error) = store.append(&encode(&[session(realm), session(realm + 1000)]))
                {
                    break error;
                }
            };
            // It goes on when there is room again.
            store.append(&encode(&[session(5000)])).unwrap_err();
            let len = fs::metadata(format!("{path}/journal")).unwrap().len();
            store.compact(&encode(&[session(1), session(2)])).unwrap();
            store.append(&encode(&[session(3)])).unwrap();
            say(&format!("{realm} {len} {:?} {error}", error.kind()));
        }
        other => panic!("no role `{other}`"),
    }
}

/// FAULTS 14, 15.
#[test]
fn n3_another_process_is_refused_until_the_first_is_gone() {
    let scratch = Scratch::new("second");
    let mut first = child("serve", &scratch, "");
    assert_eq!(said(&mut first), "serving");
    let error = open(&scratch).unwrap_err();
    assert!(error.is_contended());
    assert!(error.to_string().contains(&format!("served by process {}", first.id())), "{error}");
    assert_eq!(serving_pid(&scratch.0), Some(first.id()));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(serving_pid(&scratch.0), None);
    let (_store, found) = open(&scratch).unwrap();
    assert_eq!(state(&found.ledger), [session(1)]);
}

/// A POSIX lock is gone with the first handle of its file that the process closes.
#[test]
fn n3_whoever_reads_the_lock_file_of_its_own_server_does_not_end_its_charge() {
    let scratch = Scratch::new("backup");
    let mut server = child("backup", &scratch, "");
    assert_eq!(said(&mut server), "serving");
    let error = open(&scratch).expect_err("it serves");
    assert!(error.to_string().contains(&format!("served by process {}", server.id())), "{error}");
    assert_eq!(serving_pid(&scratch.0), Some(server.id()));
    server.kill().unwrap();
    server.wait().unwrap();
    open(&scratch).unwrap();
}

#[test]
fn n3_who_asks_for_the_server_does_not_end_its_charge() {
    let scratch = Scratch::new("asks");
    let (_store, _) = open(&scratch).unwrap();
    assert_eq!(serving_pid(&scratch.0), Some(std::process::id()));
    assert!(open(&scratch).unwrap_err().is_contended());
    let mut other = child("try", &scratch, "");
    let answer = said(&mut other);
    other.wait().unwrap();
    assert!(answer.contains(&format!("served by process {}", std::process::id())), "{answer}");
}

/// FAULTS 23.
#[test]
fn n4_a_full_disk_leaves_whole_batches() {
    let scratch = Scratch::new("full");
    // As many blocks of 512 bytes, and no signal for who wants more.
    let mut filler = child("fill", &scratch, "trap '' XFSZ; ulimit -f 8;");
    let answer = said(&mut filler);
    assert!(filler.wait().unwrap().success());
    let mut words = answer.splitn(4, ' ');
    let realm: u32 = words.next().unwrap().parse().unwrap();
    let len: usize = words.next().unwrap().parse().unwrap();
    assert_eq!(words.next(), Some("FileTooLarge"));
    assert!(words.next().unwrap().contains("ulimit -f"), "{answer}");
    let written: Vec<_> =
        (1..realm).flat_map(|realm| [session(realm), session(realm + 1000)]).collect();
    assert_eq!(len, super::super::header::Header::LEN + encode(&written).len());
    let (_store, found) = open(&scratch).unwrap();
    assert_eq!(state(&found.ledger), [session(1), session(2), session(3)]);
}

/// FAULTS 26. An extra: it takes a program that forks without starting another one.
#[test]
fn n3_a_forked_child_does_not_keep_the_directory() {
    let scratch = Scratch::new("forked");
    drop(open(&scratch).unwrap());
    let script = "import fcntl, os, sys\n\
        file = open(sys.argv[1], 'r+')\n\
        fcntl.lockf(file, fcntl.LOCK_EX)\n\
        child = os.fork()\n\
        if child: print(child, flush=True)\n\
        sys.stdin.readline()\n";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(scratch.file("server.lock"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut parent) = command.spawn() else { return };
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let forked: u32 = line.trim().parse().unwrap();
    assert!(open(&scratch).unwrap_err().is_contended());
    parent.kill().unwrap();
    // Its input stays open, so that the child lives on; that ends with `input`.
    let input = parent.stdin.take();
    parent.wait().unwrap();
    assert!(fs::exists(format!("/proc/{forked}")).unwrap());
    open(&scratch).unwrap();
    drop(input);
}

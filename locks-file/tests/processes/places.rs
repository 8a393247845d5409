//! Row 23: directories that are missing or read-only, disks that are full, and file systems that
//! do not lock.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use locks_core::LockError;
use locks_file::FileBackend;

use crate::directory::{Directory, tell_directory, told_directory};
use crate::peer::Refused;
use crate::planted::assert_fault;
use crate::program::{can_unshare, command_line, program, program_after, program_under};

/// A shell script that is run once a first lock has been taken, and another once a second was
/// refused.
const MEANWHILE: &str = "LOCKS_FILE_MEANWHILE";
const AT_LAST: &str = "LOCKS_FILE_AT_LAST";
/// Whether to use up all descriptors first.
const DESCRIPTORS: &str = "LOCKS_FILE_DESCRIPTORS";

/// Where to go once the backend is there.
const GOES_TO: &str = "LOCKS_FILE_GOES_TO";

const SAYS: &str = "locks-file places: ";

/// The program: takes a lock, in circumstances that the environment brings about, and says what
/// came of it.
pub(crate) fn try_once() {
    let mut longest = Duration::ZERO;
    let text = match try_all(&mut longest) {
        Ok(()) => "granted".to_owned(),
        Err(error) => format!("refused {:?}|{error}", error.kind()).replace('\n', " "),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{SAYS}{} {text}", longest.as_millis()).unwrap();
}

/// Says as well how long the slowest step took.
fn try_all(longest: &mut Duration) -> Result<(), LockError> {
    let start = Instant::now();
    let opened = FileBackend::new(told_directory());
    *longest = start.elapsed();
    let backend = opened?.into_backend();
    let taken = || backend.named("k").acquire().and_then(|guard| guard.release());
    let mut descriptors = Vec::new();
    // What follows finds everything in use already.
    run_script(MEANWHILE, || backend.named("before").acquire().unwrap().release().unwrap());
    if let Some(place) = std::env::var_os(GOES_TO) {
        std::env::set_current_dir(place).unwrap();
    }
    if std::env::var_os(DESCRIPTORS).is_some() {
        while let Ok(file) = fs::File::open("/dev/null") {
            descriptors.push(file);
        }
    }
    let start = Instant::now();
    let outcome = taken();
    *longest = start.elapsed().max(*longest);
    drop(descriptors);
    let refused_first = outcome.is_err();
    if run_script(AT_LAST, || ()) && refused_first {
        taken().expect("row 23: once the cause is gone it is granted");
    }
    outcome
}

fn run_script(variable: &str, before: impl FnOnce()) -> bool {
    let Ok(script) = std::env::var(variable) else { return false };
    before();
    assert!(Command::new("sh").args(["-ec", &script]).status().unwrap().success(), "`{script}`");
    true
}

/// The program on a directory.
pub(crate) fn program_in(directory: &Path) -> Command {
    let mut command = program("places");
    tell_directory(&mut command, directory);
    command
}

/// The same in a mount namespace of its own, once `script` has been run there; `None` where that
/// cannot be had.
fn program_in_mounts(directory: &Path, script: &str) -> Option<Command> {
    let unshare = ["--mount"];
    let trial = format!("mount -t tmpfs none '{}'", directory.display());
    if !can_unshare(&unshare, &trial) {
        return None;
    }
    let mut command = program_under("places", &unshare, script);
    tell_directory(&mut command, directory);
    Some(command)
}

/// What the program says, which has to be at once.
#[track_caller]
pub(crate) fn outcome(command: &mut Command) -> Result<(), Refused> {
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let (sender, said) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if let Some(text) = line.strip_prefix(SAYS) {
                sender.send(text.to_owned()).expect("the test waits for it");
            }
        }
    });
    let said = said.recv_timeout(Duration::from_secs(10));
    let _ = process.kill();
    process.wait().unwrap();
    let said = said.expect("row 23: it says what came of it");
    let (longest, said) = said.split_once(' ').unwrap();
    // Opening a directory writes to the disk once, which may take its time.
    let longest = Duration::from_millis(longest.parse().unwrap());
    assert!(longest < Duration::from_millis(1900), "row 23: not at once: {longest:?} until {said}");
    match said {
        "granted" => Ok(()),
        text => {
            let refusal = text.strip_prefix("refused ").and_then(|text| text.split_once('|'));
            let (kind, text) = refusal.unwrap();
            Err(Refused { kind: kind.to_owned(), text: text.to_owned() })
        }
    }
}

#[track_caller]
fn assert_refused(command: &mut Command, directory: &Path, what: &str) -> Refused {
    let refused = outcome(command).expect_err(&format!("row 23: granted in {what}"));
    assert_fault(&refused, directory, what);
    refused
}

#[test]
fn row_23_a_missing_directory_is_made() {
    let directory = Directory::missing();
    for path in [directory.path().to_owned(), directory.path().join("deep/deeper")] {
        assert!(!path.exists());
        outcome(&mut program_in(&path)).unwrap();
        assert!(path.is_dir());
    }
}

/// One that is named relative to where the process is, and stays where it was.
#[test]
fn row_23_a_process_that_goes_elsewhere() {
    let directory = Directory::new();
    let mut command = program_in(Path::new("relative"));
    command.current_dir(directory.path()).env(GOES_TO, "/");
    outcome(&mut command).unwrap();
    let file = directory.path().join("relative");
    let file = file.join(directory.file_of("k").file_name().unwrap());
    assert!(file.is_file(), "the lock went with the process");
    assert!(!Path::new("/relative").exists(), "the lock went with the process");
}

/// One directory by two names is one arbiter, or is refused.
#[test]
fn c1_two_names_of_one_directory() {
    let directory = Directory::new();
    let guard = directory.backend().named("k").acquire().unwrap();
    let link = Directory::missing();
    std::os::unix::fs::symlink(directory.path(), link.path()).unwrap();
    let dots = directory.path().join("../").join(directory.path().file_name().unwrap());
    for name in [link.path(), &dots] {
        let Ok(backend) = FileBackend::new(name) else { continue };
        let backend = backend.into_backend();
        let outcome = backend.named("k").wait(false).acquire();
        assert!(outcome.is_err(), "C1: {outcome:?} by the name of {name:?}");
    }
    drop(guard);
    fs::remove_file(link.path()).unwrap();
}

#[test]
fn row_23_no_directory_at_all() {
    let directory = Directory::new();
    let file = directory.path().join("file");
    fs::write(&file, "kept").unwrap();
    assert_refused(&mut program_in(&file), &file, "a file");
    assert_refused(&mut program_in(&file.join("below")), &file.join("below"), "a place in a file");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    let proc = Path::new("/proc/locks-file");
    assert_refused(&mut program_in(proc), proc, "a file system that makes no directories");
    let proc = Path::new("/proc/self");
    assert_refused(&mut program_in(proc), proc, "a file system that makes no files");
}

#[test]
fn row_23_a_file_system_that_is_read_only() {
    let directory = Directory::new();
    let path = directory.path().display();
    let script = format!("mount -t tmpfs -o mode=700,ro none '{path}'");
    let Some(mut command) = program_in_mounts(directory.path(), &script) else { return };
    assert_refused(&mut command, directory.path(), "a read-only file system");

    // While it is in use something is mounted over it.
    let mut command = program_in_mounts(directory.path(), "true").unwrap();
    command.env(MEANWHILE, &script).env(AT_LAST, format!("umount '{path}'"));
    assert_refused(&mut command, directory.path(), "a file system that has come in between");
}

#[test]
fn row_23_a_full_disk() {
    let directory = Directory::new();
    let path = directory.path().display();
    let full = format!("cat /dev/zero >'{path}/ballast' 2>/dev/null || true");
    let script = format!("mount -t tmpfs -o mode=700,size=256k none '{path}'\n");
    let free = format!("rm '{path}/ballast'");

    let Some(mut command) = program_in_mounts(directory.path(), &(script.clone() + &full)) else {
        return;
    };
    command.env(AT_LAST, &free);
    assert_refused(&mut command, directory.path(), "a disk that was full before");

    let mut command = program_in_mounts(directory.path(), &script).unwrap();
    command.env(MEANWHILE, &full).env(AT_LAST, &free);
    assert_refused(&mut command, directory.path(), "a disk that has filled up");
}

#[test]
fn row_23_a_disk_without_inodes() {
    let directory = Directory::new();
    let path = directory.path().display();
    let script = format!("mount -t tmpfs -o mode=700,nr_inodes=40 none '{path}'");
    let Some(mut command) = program_in_mounts(directory.path(), &script) else { return };
    let full = format!("for i in $(seq 100); do : >'{path}/ballast'$i || exit 0; done");
    let full = format!("( {full} ) 2>/dev/null || true");
    command.env(MEANWHILE, full).env(AT_LAST, format!("rm '{path}'/ballast*"));
    assert_refused(&mut command, directory.path(), "a disk without inodes");
}

/// As a quota does.
#[test]
fn row_23_files_that_may_not_grow() {
    let directory = Directory::new();
    let mut command = program_after("places", "trap '' XFSZ; ulimit -f 0");
    tell_directory(&mut command, directory.path());
    assert_refused(&mut command, directory.path(), "files that may not grow");
    outcome(&mut program_in(directory.path())).expect("nothing is left of it");
}

#[test]
fn row_23_a_process_without_descriptors() {
    let directory = Directory::new();
    let mut command = program_after("places", "ulimit -n 64");
    tell_directory(&mut command, directory.path());
    command.env(DESCRIPTORS, "").env(MEANWHILE, "true").env(AT_LAST, "true");
    assert_refused(&mut command, directory.path(), "a process without descriptors");
}

/// Starts the rest of its arguments with `flock` failing with the error that is its first one, or
/// pretending to succeed if that is 0.
const WITHOUT_FLOCK: &str = r#"
import ctypes, os, platform, struct, sys
number = {"x86_64": 73, "aarch64": 32}[platform.machine()]
errno = int(sys.argv[1])
steps = b"".join(struct.pack("HBBI", *step) for step in [
    (0x20, 0, 0, 0),
    (0x15, 0, 1, number),
    (0x06, 0, 0, 0x00050000 | errno),
    (0x06, 0, 0, 0x7fff0000),
])
buffer = ctypes.create_string_buffer(steps)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
program = Program(4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// Errors of a file system that has no locks, and one that is worse: it says yes to everybody.
#[test]
fn row_23_a_file_system_without_locks() {
    if let Err(error) = Command::new("python3").arg("--version").output() {
        return eprintln!("row 23: `flock` cannot be taken away without Python: {error}");
    }
    let errors = [
        ("ENOLCK", 37),
        ("ENOSYS", 38),
        ("EOPNOTSUPP", 95),
        ("EIO", 5),
        ("every lock is granted", 0),
    ];
    for (what, errno) in errors {
        let directory = Directory::new();
        let mut command = Command::new("python3");
        command.args(["-c", WITHOUT_FLOCK, &errno.to_string()]).args(command_line());
        for (name, value) in program("places").get_envs() {
            command.env(name, value.unwrap());
        }
        tell_directory(&mut command, directory.path());
        assert_refused(&mut command, directory.path(), what);
    }
}

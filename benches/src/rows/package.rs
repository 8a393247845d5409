//! Packages that are written, built for a measurement, and thrown away.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A package of one file in a directory of its own; dropping it removes both.
pub(super) struct Package {
    directory: PathBuf,
}

/// What a build took.
pub(super) struct Took {
    /// Seconds on the clock.
    pub(super) seconds: f64,
    /// Seconds of processor time, where the system tells.
    pub(super) processor: Option<f64>,
}

impl Package {
    /// Writes it, and downloads what it needs.
    pub(super) fn new(name: &str, dependency: &str, program: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("locks-{name}-{}", std::process::id()));
        let package = Self { directory };
        fs::create_dir_all(package.directory.join("src"))
            .expect("the temporary directory is there");
        package.write(
            "Cargo.toml",
            &format!(
                "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                 [dependencies]\n{dependency}\n\n[workspace]\n",
            ),
        );
        package.program(program);
        package.cargo(&["fetch"]);
        package
    }

    /// Replaces the program.
    pub(super) fn program(&self, program: &str) {
        self.write("src/main.rs", program);
    }

    /// Builds what is not built yet.
    pub(super) fn build(&self) -> Took {
        let (start, before) = (Instant::now(), processor_time());
        self.cargo(&["build", "--offline"]);
        let processor = before.and_then(|before| Some(processor_time()? - before));
        Took { seconds: start.elapsed().as_secs_f64(), processor }
    }

    /// Forgets what was built.
    pub(super) fn clean(&self) {
        fs::remove_dir_all(self.directory.join("target")).expect("cargo built into it");
    }

    /// How many crates it takes on this platform, itself included.
    pub(super) fn crates(&self) -> f64 {
        let arguments = ["tree", "--offline", "--prefix=none", "--edges=normal,build"];
        let tree = self.cargo(&arguments);
        let mut crates = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect::<Vec<_>>();
        crates.sort_unstable();
        crates.dedup();
        crates.len() as f64
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.directory.join(file);
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
    }

    /// Runs cargo in it, as a user would: settings of the build of this program do not count. What
    /// comes from a registry is never compiled incrementally, which costs a fifth more, so neither
    /// is what stands in for it here.
    fn cargo(&self, arguments: &[&str]) -> String {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let output = Command::new(cargo)
            .args(arguments)
            .arg("--quiet")
            .current_dir(&self.directory)
            .env("CARGO_TARGET_DIR", self.directory.join("target"))
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("RUSTFLAGS")
            .stderr(Stdio::inherit())
            .output()
            .expect("`cargo` is installed: it built this program");
        let arguments = arguments.join(" ");
        assert!(output.status.success(), "`cargo {arguments}` failed: its error is above");
        String::from_utf8(output.stdout).expect("cargo prints text")
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("{} stays behind: {error}", self.directory.display());
        }
    }
}

/// The line for `Cargo.toml` that brings `locks` in.
pub(super) fn locks() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("`benches` lies in the root");
    format!("locks = {{ path = {:?} }}", root.display().to_string())
}

/// Seconds of processor time of the children that have ended; Linux counts them in hundredths.
fn processor_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, which may be anything; the 16th and 17th are wanted.
    let (_, rest) = stat.rsplit_once(") ")?;
    let ticks = rest.split(' ').skip(13).take(2).map(|field| field.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / 100.0)
}

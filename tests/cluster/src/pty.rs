//! A terminal with a program in it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::wait_for;

/// Written behind the last word of a program: nothing else has it.
const END: &str = "\u{4}end\u{4}";

/// A terminal; what runs in it was started by `Terminal::run`.
pub struct Terminal {
    child: Child,
    master: File,
    /// Open for as long as this lives, so that the terminal can be looked at after the program.
    slave: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    before: Termios,
}

impl Terminal {
    /// Runs `program` with these arguments as the leader of a session on a new terminal of
    /// `columns` and `rows`. `setsid` is what makes it the controlling one.
    ///
    /// # Panics
    ///
    /// There is no terminal to be had, or the program does not start.
    #[must_use]
    pub fn run(command: &Command, (columns, rows): (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).expect("terminal");
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).expect("size");
        let before = tcgetattr(&slave).expect("attributes");
        let end = || slave.try_clone().expect("terminal");
        let mut inside = Command::new("setsid");
        inside
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(end())
            .stdout(end())
            .stderr(end());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        let child = inside.spawn().expect("setsid");
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut from, into) = (master.try_clone().expect("terminal"), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with the last process that has the terminal open.
            while let Ok(len @ 1..) = from.read(&mut buffer) {
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                into.extend_from_slice(&buffer[..len]);
            }
        });
        Self {
            child,
            master,
            slave,
            seen,
            before,
        }
    }

    /// Everything that was written to it so far, escape codes too.
    #[must_use]
    pub fn raw(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Waits until `part` was written after the first `from` bytes; how many bytes there are then.
    ///
    /// # Panics
    ///
    /// It was not within `patience`; the message has what was.
    pub fn wait_for(&self, part: &str, from: usize, patience: Duration) -> usize {
        let start = std::time::Instant::now();
        loop {
            let seen = self.raw();
            if seen.get(from..).is_some_and(|rest| rest.contains(part)) {
                return seen.len();
            }
            assert!(start.elapsed() < patience, "no \"{part}\" in: {seen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Presses Ctrl-C.
    ///
    /// # Panics
    ///
    /// The terminal is gone.
    pub fn interrupt(&mut self) {
        self.master.write_all(b"\x03").expect("terminal");
    }

    /// Waits for the end of the program.
    ///
    /// # Panics
    ///
    /// It does not end within `patience`, or leaves the terminal other than it was.
    pub fn end(mut self, patience: Duration) -> (ExitStatus, String) {
        let status = wait_for("the program to end", patience, || {
            self.child.try_wait().expect("wait")
        });
        let after = tcgetattr(self.slave.as_fd()).expect("attributes");
        assert_eq!(
            format!("{after:?}"),
            format!("{:?}", self.before),
            "the terminal's settings have changed"
        );
        // What was written last may still be on its way to the reader; this comes after it.
        rustix::io::write(&self.slave, END.as_bytes()).expect("terminal");
        let raw = wait_for("what was written last", patience, || {
            self.raw().strip_suffix(END).map(str::to_owned)
        });
        (status, raw)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // `setsid` did not fork, so this is the program itself; after a failed test only.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The text without escape codes.
#[must_use]
pub fn plain(raw: &str) -> String {
    let mut text = String::new();
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            text.push(c);
        } else if rest.next() == Some('[') {
            // Ends with a letter.
            let _last = rest.find(|c| ('@'..='~').contains(c));
        }
    }
    text
}
